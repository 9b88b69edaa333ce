//! The host names of an installation, as lines of a hosts file.

use std::net::{IpAddr, Ipv4Addr};

use custody_client::{Addresses, kinds};
use serde_json::Value;

use crate::context::Context;
use crate::error::CliError;
use crate::serving::Reached;

/// Most names on one line.
const NAMES_ON_LINE: usize = 8;

/// What stands between a name and the suffix, by the kind of resource that has a host of its own.
const LABELS: [(&str, &str); 2] = [(kinds::KEY_VAULT, "vault"), (kinds::MANAGED_HSM, "managedhsm")];

/// The lines that name the main host and every key vault and managed HSM there is now.
pub(crate) fn wanted(context: &Context<'_>, reached: &Reached) -> Result<Vec<String>, CliError> {
    let subscription = context.addresses()?.subscription();
    let suffix = &reached.base.suffix;
    let mut hosts = vec![suffix.clone()];
    for (kind, label) in LABELS {
        let listed = context.client()?.list(&Addresses::collection(&subscription, kind))?;
        let names = listed.iter().filter_map(|each| each.get("name").and_then(Value::as_str));
        hosts.extend(names.map(|name| format!("{}.{label}.{suffix}", name.to_ascii_lowercase())));
    }
    hosts.sort_unstable();
    hosts.dedup();
    let address = reached.address.filter(|address| !address.is_unspecified());
    Ok(lines(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), &hosts))
}

fn lines(address: IpAddr, hosts: &[String]) -> Vec<String> {
    hosts.chunks(NAMES_ON_LINE).map(|some| format!("{address} {}", some.join(" "))).collect()
}

/// A hosts file with `lines` between the marks of `owner`, wherever and whatever stood there.
/// Everything else stays as it is.
pub(crate) fn with_lines(file: &str, owner: &str, lines: &[String]) -> String {
    let (begin, end) = (format!("# custody {owner} begin"), format!("# custody {owner} end"));
    let block = || {
        let inner = lines.iter().map(String::as_str);
        std::iter::once(begin.as_str()).chain(inner).chain(std::iter::once(end.as_str()))
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut is_written = false;
    let mut rest = file.lines();
    while let Some(line) = rest.next() {
        // A mark without its end is somebody's slip: what follows it is not ours.
        let inside = rest.clone().position(|other| other == end || other == begin);
        let inside = inside.filter(|at| rest.clone().nth(*at) == Some(end.as_str()));
        match inside {
            Some(length) if line == begin => {
                if !is_written {
                    kept.extend(block());
                    is_written = true;
                }
                rest.nth(length);
            }
            _ => kept.push(line),
        }
    }
    if !is_written {
        kept.extend(block());
    }
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_stand_between_their_marks_once() {
        let check = |file: &str, lines: &[&str], expected: &str| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let got = with_lines(file, "x", &lines);
            assert_eq!(got, expected);
            assert_eq!(with_lines(&got, "x", &lines), expected, "written twice");
        };
        let ours = "# custody x begin\n1 a\n# custody x end\n";
        check("", &["1 a"], ours);
        check("9 z\n", &["1 a"], &format!("9 z\n{ours}"));
        check("9 z", &["1 a"], &format!("9 z\n{ours}"));
        check(
            "9 z\n# custody x begin\n2 old\n3 old\n# custody x end\n8 y\n",
            &["1 a"],
            &format!("9 z\n{ours}8 y\n"),
        );
        check(
            "# custody y begin\n2 b\n# custody y end\n",
            &["1 a"],
            &format!("# custody y begin\n2 b\n# custody y end\n{ours}"),
        );
    }

    #[test]
    fn a_mark_without_its_end_swallows_nothing() {
        let lines = ["1 a".to_owned()];
        let got = with_lines("# custody x begin\n9 z\n", "x", &lines);
        assert_eq!(got, "# custody x begin\n9 z\n# custody x begin\n1 a\n# custody x end\n");
        assert_eq!(with_lines(&got, "x", &lines), got, "written twice");
    }

    #[test]
    fn names_are_parted_into_lines() {
        let hosts: Vec<String> = (0..9).map(|number| format!("h{number}")).collect();
        let lines = lines("127.0.0.1".parse().unwrap(), &hosts);
        assert_eq!(lines, ["127.0.0.1 h0 h1 h2 h3 h4 h5 h6 h7", "127.0.0.1 h8"]);
    }
}
