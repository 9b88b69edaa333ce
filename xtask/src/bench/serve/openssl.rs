//! The yardstick: what openssl makes of the same cores.

use std::process::Command;

use crate::failure::{Failure, Trying};
use crate::process::output;

/// Processes that openssl measures with: one for each core that is loaded.
const PROCESSES: &str = "2";

/// What limits the count of operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Time that passes: other programs on the cores make it slower, as they do the server.
    WallTime,
    /// Processor time of its own.
    CpuTime,
}

/// Private-key operations (signatures) per second with RSA keys of this size.
pub(crate) fn private_per_s(bits: u32, seconds: u64, by: By) -> Result<f64, Failure> {
    let algorithm = format!("rsa{bits}");
    let seconds = seconds.to_string();
    let mut speed = Command::new("openssl");
    speed.args(["speed", "-mr", "-multi", PROCESSES, "-seconds", &seconds]);
    if by == By::WallTime {
        speed.arg("-elapsed");
    }
    let text = output(speed.arg(&algorithm))?;
    sum(&text, bits).trying(format!("openssl speed {algorithm}"))
}

/// The line of the sum: `+F2:INDEX:BITS:PRIVATE:PUBLIC`, both per second.
fn sum(text: &str, bits: u32) -> Result<f64, Failure> {
    let bits = bits.to_string();
    let rate = text.lines().find_map(|line| {
        let mut fields = line.strip_prefix("+F2:")?.split(':').skip(1);
        (fields.next()? == bits).then(|| fields.next()?.parse::<f64>().ok()).flatten()
    });
    rate.filter(|rate| *rate > 0.0).ok_or_else(|| Failure::new(format!("it said {text:?}")))
}

/// Seconds of processor time that one private-key operation takes.
pub(crate) fn cpu_s_each(bits: u32, seconds: u64) -> Result<f64, Failure> {
    let processes: f64 = PROCESSES.parse().trying("processes")?;
    Ok(processes / private_per_s(bits, seconds, By::CpuTime)?)
}

/// The version, as it says it.
pub(crate) fn version() -> Result<String, Failure> {
    let text = output(Command::new("openssl").arg("version"))?;
    Ok(text.split('(').next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_all_processes_is_read() {
        let text = "Forked child 0\nGot: +F2:2:2048:320.0:10349.5 from 0\n\
                    +F2:2:2048:587.5:18933.5\n";
        assert_eq!(sum(text, 2048), Ok(587.5));
        assert!(sum(text, 4096).is_err());
        assert!(sum("+F2:2:2048:0.0:0.0\n", 2048).is_err());
    }
}
