//! Debian packages that commands need on the machine.

use crate::failure::{Failure, Trying};
use crate::process::{command, is_installed, output, run};

/// A program and the Debian package that brings it.
pub(crate) type Package = (&'static str, &'static str);

/// Makes sure the programs are there: installs them as root, otherwise says what is missing.
pub(crate) fn ensure(packages: &[Package]) -> Result<(), Failure> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Installs packages as root, otherwise says how.
pub(crate) fn install(missing: &[&str]) -> Result<(), Failure> {
    let install = format!("apt-get install {}", missing.join(" "));
    if output(&mut command("id", &["-u"]))?.trim() != "0" {
        return Err(Failure::new(format!("packages are missing; as root: {install}")));
    }
    let apt = |arguments: &[&str]| run(command("apt-get", arguments).env("LC_ALL", "C.UTF-8"));
    apt(&["-qq", "update"]).trying(&install)?;
    let mut arguments = vec!["-qq", "-y", "--no-install-recommends", "install"];
    arguments.extend(missing);
    apt(&arguments).trying(install)
}
