//! The engines: how each is told to do a step.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Trying};
use crate::process::{is_installed, output};

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Init,
    First,
    Unchanged,
    Incremental,
    Check,
    Restore,
}

impl Step {
    pub(crate) const ALL: [Self; 6] =
        [Self::Init, Self::First, Self::Unchanged, Self::Incremental, Self::Check, Self::Restore];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::First => "first backup",
            Self::Unchanged => "unchanged",
            Self::Incremental => "incremental",
            Self::Check => "check with data",
            Self::Restore => "full restore",
        }
    }
}

/// Where one series of steps happens. All engines find nothing of an earlier one there.
pub(crate) struct Place {
    pub(crate) repository: PathBuf,
    pub(crate) restored: PathBuf,
    /// Home, caches, and what measuring writes.
    pub(crate) scratch: PathBuf,
}

impl Place {
    pub(crate) fn fresh(work: &Path) -> Result<Self, Failure> {
        let place = Self {
            repository: work.join("repository"),
            restored: work.join("restored"),
            scratch: work.join("scratch"),
        };
        place.clear()?;
        fs::create_dir_all(&place.scratch).trying(place.scratch.display())?;
        Ok(place)
    }

    pub(crate) fn clear(&self) -> Result<(), Failure> {
        for folder in [&self.repository, &self.restored, &self.scratch] {
            if folder.exists() {
                fs::remove_dir_all(folder).trying(folder.display())?;
            }
        }
        Ok(())
    }
}

/// The programs that are built here.
#[derive(Default)]
pub(crate) struct OwnPrograms {
    pub(crate) custody: PathBuf,
    pub(crate) ceiling: PathBuf,
}

/// A backup engine at the settings that its users have: encrypted, compressed.
pub(crate) struct Engine {
    kind: Kind,
    program: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Custody,
    Restic,
    Borg,
    Rustic,
    /// What custody's pipeline alone needs for the first backup.
    Ceiling,
}

impl Engine {
    /// The engine of this name; `own` are the programs of those that are ours.
    pub(crate) fn named(name: &str, own: &OwnPrograms) -> Result<Self, Failure> {
        let kind = match name {
            "custody" => Kind::Custody,
            "restic" => Kind::Restic,
            "borg" => Kind::Borg,
            "rustic" => Kind::Rustic,
            "ceiling" => Kind::Ceiling,
            _ => return Err(Failure::new(format!("no engine is called {name:?}"))),
        };
        let program = match kind {
            Kind::Custody => own.custody.display().to_string(),
            Kind::Ceiling => own.ceiling.display().to_string(),
            _ => name.to_owned(),
        };
        Ok(Self { kind, program })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Custody => "custody",
            Kind::Restic => "restic",
            Kind::Borg => "borg",
            Kind::Rustic => "rustic",
            Kind::Ceiling => "ceiling",
        }
    }

    /// How to get it.
    pub(crate) fn install(&self) -> &'static str {
        match self.kind {
            Kind::Custody | Kind::Ceiling => "cargo build --release",
            Kind::Restic => "apt-get install restic",
            Kind::Borg => "apt-get install borgbackup",
            Kind::Rustic => "cargo install rustic-rs",
        }
    }

    /// What it calls its version, or `None` if it is not installed.
    pub(crate) fn version(&self) -> Option<String> {
        if self.kind == Kind::Ceiling {
            return Some("the bare pipeline".to_owned());
        }
        if !is_installed(&self.program) {
            return None;
        }
        let argument = if self.kind == Kind::Restic { "version" } else { "--version" };
        let text = output(Command::new(&self.program).arg(argument)).ok()?;
        text.lines().next().map(|line| line.trim().to_owned())
    }

    /// Whether it has this step.
    pub(crate) fn does(&self, step: Step) -> bool {
        self.kind != Kind::Ceiling || step == Step::First
    }

    /// The command for a step that it has. Backups are made of the folder `set`, from within `data`.
    pub(crate) fn command(&self, step: Step, set: &str, data: &Path, place: &Place) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(data).env("HOME", &place.scratch);
        for (variable, folder) in [
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "share"),
            ("XDG_STATE_HOME", "state"),
        ] {
            command.env(variable, place.scratch.join(folder));
        }
        match self.kind {
            Kind::Custody => custody(&mut command, step, set, place),
            Kind::Restic => restic(&mut command, step, set, place),
            Kind::Borg => borg(&mut command, step, set, place),
            Kind::Rustic => rustic(&mut command, step, set, place),
            Kind::Ceiling => {
                command.arg(set).arg(&place.repository);
            }
        }
        command
    }
}

fn custody(command: &mut Command, step: Step, set: &str, place: &Place) {
    command.arg("--data-dir").arg(&place.repository);
    match step {
        Step::Init => command.arg("init"),
        Step::First | Step::Unchanged | Step::Incremental => {
            command.args(["protect", set, "--item", "bench"])
        }
        Step::Check => command.args(["verify", "--read-data"]),
        Step::Restore => command.args(["restore", "bench", "--to"]).arg(&place.restored),
    };
}

/// AES-256-CTR with Poly1305-AES; zstd by default.
fn restic(command: &mut Command, step: Step, set: &str, place: &Place) {
    command.env("RESTIC_PASSWORD", "bench").env("RESTIC_REPOSITORY", &place.repository);
    match step {
        Step::Init => command.arg("init"),
        Step::First | Step::Unchanged | Step::Incremental => command.args(["backup", "-q", set]),
        Step::Check => command.args(["check", "-q", "--read-data"]),
        Step::Restore => command.args(["restore", "-q", "latest", "--target"]).arg(&place.restored),
    };
}

/// AES-256-CTR with keyed BLAKE2b; zstd is asked for, as custody and restic use it.
fn borg(command: &mut Command, step: Step, set: &str, place: &Place) {
    command.env("BORG_PASSPHRASE", "bench").env("BORG_REPO", &place.repository);
    command.env("BORG_BASE_DIR", &place.scratch).env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
    let archive = |step: Step| format!("::{}", step.name().replace(' ', "-"));
    match step {
        Step::Init => command.args(["init", "-e", "repokey-blake2"]),
        Step::First | Step::Unchanged | Step::Incremental => {
            command.args(["create", "-C", "zstd,3", &archive(step), set])
        }
        Step::Check => command.args(["check", "--verify-data"]),
        Step::Restore => {
            // borg restores into the folder that it runs in; where that cannot be made, it fails.
            fs::create_dir_all(&place.restored).ok();
            command.current_dir(&place.restored).args(["extract", &archive(Step::Incremental)])
        }
    };
}

/// restic's format, in Rust.
fn rustic(command: &mut Command, step: Step, set: &str, place: &Place) {
    command.env("RUSTIC_PASSWORD", "bench").env("RUSTIC_REPOSITORY", &place.repository);
    command.env("RUSTIC_NO_PROGRESS", "true").env("RUSTIC_LOG_LEVEL", "warn");
    match step {
        Step::Init => command.arg("init"),
        Step::First | Step::Unchanged | Step::Incremental => command.args(["backup", set]),
        Step::Check => command.args(["check", "--read-data"]),
        Step::Restore => command.args(["restore", "latest"]).arg(&place.restored),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::line;

    #[test]
    fn commands_are_what_a_user_would_type() {
        let place = Place {
            repository: "/w/repository".into(),
            restored: "/w/restored".into(),
            scratch: "/w/scratch".into(),
        };
        let own = OwnPrograms { custody: "/bin/custody".into(), ceiling: "/bin/ceiling".into() };
        let check = |engine: &str, step: Step, expected: &str| {
            let engine = Engine::named(engine, &own).unwrap();
            let command = engine.command(step, "tree", Path::new("/w/data"), &place);
            assert_eq!(line(&command), expected);
        };
        check(
            "custody",
            Step::First,
            "/bin/custody --data-dir /w/repository protect tree --item bench",
        );
        check("custody", Step::Check, "/bin/custody --data-dir /w/repository verify --read-data");
        check("restic", Step::Restore, "restic restore -q latest --target /w/restored");
        check("borg", Step::Incremental, "borg create -C zstd,3 ::incremental tree");
        check("rustic", Step::Restore, "rustic restore latest /w/restored");
        check("ceiling", Step::First, "/bin/ceiling tree /w/repository");
        assert!(Engine::named("tar", &own).is_err());
    }
}
