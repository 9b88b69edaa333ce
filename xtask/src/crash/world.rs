//! A data folder that is being shot at, and what must hold in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::crash::act::{Act, ITEM, KEPT_POINTS, TARGET};
use crate::crash::progress::{Outcome, follow};
use crate::crash::schedule::Shot;
use crate::crash::source::Source;
use crate::failure::{Failure, Trying};
use crate::process::output;
use crate::tree::{Fingerprint, files, fingerprint, restored_top};

/// Points that `forget` and `prune` find before them.
const POINTS_BEFORE: usize = KEPT_POINTS + 2;

/// custody, its data folder and what it ought to hold.
pub(crate) struct World {
    custody: PathBuf,
    folder: PathBuf,
    source: Source,
    key_vault: String,
    /// The points there are, oldest first, and what each must restore to.
    points: Vec<(String, Fingerprint)>,
    examined: usize,
}

impl World {
    /// Sets custody up in a fresh folder and takes the first point.
    pub(crate) fn set_up(custody: PathBuf, folder: &Path, seed: u64) -> Result<Self, Failure> {
        if folder.exists() {
            fs::remove_dir_all(folder).trying(folder.display())?;
        }
        let source = Source::create(&folder.join("source"), seed).trying("the source")?;
        let (folder, key_vault) = (folder.to_owned(), String::new());
        let mut world =
            Self { custody, folder, source, key_vault, points: Vec::new(), examined: 0 };
        world.protect()?;
        let key_vaults = world.ask(&["keyvault", "list"])?;
        world.key_vault = names(&key_vaults).into_iter().next().unwrap_or_default();
        Ok(world)
    }

    /// Brings about what the act needs: changes to protect, points to forget, garbage to prune, a
    /// point to restore and where to.
    pub(crate) fn prepare(&mut self, act: Act) -> Result<(), Failure> {
        match act {
            Act::Protect => self.source.edit().trying("the source"),
            Act::Rotate => Ok(()),
            Act::Rewrap => {
                let outcome = self.perform(Act::Rotate, None)?;
                self.count_points(Act::Rotate, &outcome)
            }
            Act::Forget | Act::Prune => {
                while self.points.len() < POINTS_BEFORE {
                    self.source.edit().trying("the source")?;
                    self.protect()?;
                }
                if act == Act::Prune {
                    let outcome = self.perform(Act::Forget, None)?;
                    self.count_points(Act::Forget, &outcome)?;
                }
                Ok(())
            }
            Act::Restore => self.empty(TARGET).map(drop),
            Act::RestoreOver => {
                self.empty(TARGET)?;
                self.finish(Act::Restore)?;
                self.source.edit().trying("the source")?;
                self.protect()
            }
        }
    }

    /// Runs the act, with a shot at it if there is one.
    pub(crate) fn perform(&self, act: Act, shot: Option<&Shot>) -> Result<Outcome, Failure> {
        let mut command = self.command();
        command.args(["--progress", "json"]).args(act.arguments(&self.key_vault));
        follow(command, shot)
    }

    /// Checks that nothing was lost and nothing is there that is not whole.
    pub(crate) fn examine(&mut self, act: Act, outcome: &Outcome) -> Result<(), Failure> {
        self.count_points(act, outcome)?;
        if act.restores() {
            self.finish(act)?;
            self.target_is_right()?;
        }
        // One old point and the newest each time; all of them over a few rounds.
        self.examined += 1;
        let old = self.examined % self.points.len().max(1);
        for (id, expected) in self.points.get(old).into_iter().chain(self.points.last()) {
            self.restores(id, expected)?;
        }
        self.ask(&["verify", "--read-data"])?;
        self.ask(&["ledger", "verify"]).map(drop)
    }

    /// Runs the act undisturbed, perhaps once more.
    fn finish(&self, act: Act) -> Result<(), Failure> {
        match self.perform(act, None)? {
            Outcome::Finished { .. } => Ok(()),
            other => Err(Failure::new(format!("{}, again: {other}", act.name()))),
        }
    }

    /// Fails unless the target holds the newest point and nothing else.
    fn target_is_right(&self) -> Result<(), Failure> {
        let target = self.folder.join(TARGET);
        let top = restored_top(self.source.folder(), &target).trying(TARGET)?;
        let found = fingerprint(&top).trying(TARGET)?;
        if self.points.last().is_none_or(|(_, expected)| *expected != found) {
            return Err(Failure::new("the target is not what its point was taken of"));
        }
        let all = files(&target, &[]).trying(TARGET)?.len();
        if all > found.len() {
            let more = all - found.len();
            return Err(Failure::new(format!("{more} files of the restore itself are left")));
        }
        Ok(())
    }

    /// Sees to it that there is no such folder where the acts run.
    fn empty(&self, folder: &str) -> Result<PathBuf, Failure> {
        let target = self.folder.join(folder);
        if target.exists() {
            fs::remove_dir_all(&target).trying(target.display())?;
        }
        Ok(target)
    }

    /// Compares the points that are listed with those that must be.
    fn count_points(&mut self, act: Act, outcome: &Outcome) -> Result<(), Failure> {
        let finished = match outcome {
            Outcome::Killed { .. } => false,
            Outcome::Finished { .. } => true,
            Outcome::Failed { why } => return Err(Failure::new(why)),
        };
        let listed = names(&self.ask(&["points", ITEM])?);
        self.lost_points(act, finished, &listed)?;
        self.new_points(act, finished, &listed)
    }

    /// Strikes out what was forgotten, and fails if anything else is gone.
    fn lost_points(&mut self, act: Act, done: bool, listed: &[String]) -> Result<(), Failure> {
        let forgettable = match act {
            Act::Forget => self.points.len().saturating_sub(KEPT_POINTS),
            _ => 0,
        };
        let mut problems = Vec::new();
        for (index, (id, _)) in self.points.iter().enumerate() {
            match (listed.contains(id), index < forgettable) {
                (true, true) if done => problems.push(format!("point {id} was not forgotten")),
                (false, false) => problems.push(format!("point {id} is gone")),
                _ => {}
            }
        }
        self.points.retain(|(id, _)| listed.contains(id));
        Failure::unless_empty(problems)
    }

    /// Takes a new point in, and fails if there are more of them than were protected. That it is
    /// whole is proved at once after a kill, else by a later restore.
    fn new_points(&mut self, act: Act, done: bool, listed: &[String]) -> Result<(), Failure> {
        let known = |id: &&String| self.points.iter().any(|(known, _)| &known == id);
        let new: Vec<String> = listed.iter().filter(|id| !known(id)).cloned().collect();
        match (new.as_slice(), act) {
            ([], Act::Protect) if done => Err(Failure::new("protect succeeded without a point")),
            ([], _) => Ok(()),
            ([id], Act::Protect) => {
                let expected = fingerprint(self.source.folder()).trying("the source")?;
                if !done {
                    self.restores(id, &expected)?;
                }
                self.points.push((id.clone(), expected));
                Ok(())
            }
            (phantoms, _) => Err(Failure::new(format!("phantom points: {phantoms:?}"))),
        }
    }

    /// Fails unless the point restores to what it was taken of.
    fn restores(&self, id: &str, expected: &Fingerprint) -> Result<(), Failure> {
        let target = self.empty("restored")?;
        let to = target.display().to_string();
        self.ask(&["restore", ITEM, "--point", id, "--to", &to])?;
        let top = restored_top(self.source.folder(), &target).trying("restored files")?;
        if &fingerprint(&top).trying("restored files")? == expected {
            Ok(())
        } else {
            Err(Failure::new(format!("point {id} does not restore to what it was taken of")))
        }
    }

    /// Takes a point undisturbed.
    fn protect(&mut self) -> Result<(), Failure> {
        let outcome = self.perform(Act::Protect, None)?;
        self.count_points(Act::Protect, &outcome)
    }

    /// Runs a command that must succeed and gives what it prints.
    fn ask(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let mut command = self.command();
        let text = output(command.args(["--output", "json"]).args(arguments))?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).trying(arguments.join(" "))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.custody);
        command.current_dir(&self.folder).arg("--data-dir").arg(self.folder.join("data"));
        let home = self.folder.join("home");
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"] {
            command.env(variable, &home);
        }
        command
    }
}

/// The names of listed things: an array, or one below `value`.
fn names(listed: &Value) -> Vec<String> {
    let array = listed.as_array().or_else(|| listed.get("value")?.as_array());
    let name = |thing: &Value| {
        let name = thing.get("name").or_else(|| thing.get("id"))?;
        name.as_str().map(str::to_owned)
    };
    array.into_iter().flatten().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_things_have_names() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(names(&serde_json::from_str(text).unwrap()), expected, "{text}");
        };
        check("[{\"name\":\"a\",\"id\":\"/x/a\"},{\"id\":\"b\"}]", &["a", "b"]);
        check("{\"value\":[{\"name\":\"a\"}]}", &["a"]);
        check("null", &[]);
    }
}
