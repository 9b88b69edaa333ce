//! How values of other crates are spelled in CBOR, for `#[cbor(with = …)]`.

/// A vault GUID as 16 bytes.
pub(crate) mod vault_guid {
    use custody_names::VaultGuid;
    use minicbor::bytes::ByteArray;
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{Encoder, Write};

    pub(crate) fn encode<C, W: Write>(
        vault: &VaultGuid,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(vault.as_bytes())?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<VaultGuid, Error> {
        decoder.decode::<ByteArray<16>>().map(|bytes| VaultGuid::from_bytes(bytes.into()))
    }
}

/// A key version URI as text, in its canonical form.
pub(crate) mod key_version_uri {
    use custody_names::KeyVersionUri;
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{Encoder, Write};

    pub(crate) fn encode<C, W: Write>(
        key: &KeyVersionUri,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&key.to_string())?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<KeyVersionUri, Error> {
        decoder.str()?.parse().map_err(Error::message)
    }
}

/// A time as milliseconds since 1970.
pub(crate) mod time_ms {
    use custody_ambient::Timestamp;
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{Encoder, Write};

    pub(crate) fn encode<C, W: Write>(
        time: &Timestamp,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.i64(time.as_millisecond())?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Timestamp, Error> {
        Timestamp::from_millisecond(decoder.i64()?).map_err(Error::message)
    }
}
