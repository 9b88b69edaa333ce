//! `custody up`: serves everything over TLS until it is stopped.

use std::path::PathBuf;

use clap::Args;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;
use crate::serving;

/// Serve everything over TLS until Ctrl-C or SIGTERM
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  custody up\n  custody up --port 0 --ready-file /run/custody.json\n  \
    custody up --listen 0.0.0.0:443 --suffix keys.example.com --tls-cert chain.pem --tls-key \
    key.pem\n\nThe same settings can stand in the [server] part of the configuration file. custody \
    env prints what clients need. Stopping waits for requests and jobs under way; a second Ctrl-C \
    does not.\n\nExit codes: 0 stopped, 6 the address is taken, 13 no passphrase or seal; the \
    others are in docs/exit-codes.md."
)]
pub(crate) struct Options {
    /// Address to listen on [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub listen: Option<String>,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// What all host names end with [default: custody.localhost]
    #[arg(long, value_name = "NAME")]
    pub suffix: Option<String>,
    /// File that is written when the server is ready, with its address as JSON
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Certificate chain (PEM) to show instead of the installation's own
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Serves until it is stopped.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let settings = serving::Settings::of(options, context)?;
    serving::serve(&settings, context)?;
    Ok(Outcome::nothing())
}
