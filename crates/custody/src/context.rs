//! What a command works with: the server, its installation, and the ways to speak to people.

use std::cell::OnceCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use custody_client::{Addresses, Client, Installation};
use custody_names::{ResourceGroupName, ResourceId};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::arguments::{Arguments, Command, Global, GroupOption};
use crate::commands;
use crate::config::Config;
use crate::error::CliError;
use crate::in_process::{LoneRepository, Machine, Place};
use crate::output::Format;
use crate::progress::ProgressMode;
use crate::surroundings::Surroundings;
use crate::terminal;
use crate::verbose::Told;

/// Longest passphrase file, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

/// One run of the command.
pub(crate) struct Context<'w> {
    /// The process.
    pub world: &'w Surroundings,
    /// Options that every command takes.
    pub global: Global,
    /// The configuration file.
    pub config: Config,
    /// Where the installation is.
    pub place: Place,
    client: OnceCell<Client>,
    installation: OnceCell<Installation>,
}

impl<'w> Context<'w> {
    /// Reads environment and configuration; opens nothing yet.
    pub(crate) fn new(world: &'w Surroundings, arguments: &Arguments) -> Result<Self, CliError> {
        let global = arguments.global.clone();
        let data_folder = data_folder(world, &global)?;
        let named = global.config.as_deref().map(|path| world.current_folder.join(path));
        let config = Config::read(named.as_deref(), &data_folder)?;
        let (kind, folder) = match &arguments.command {
            Command::Init(init) => (init.seal, init.seal_folder.as_deref()),
            _ => (None, None),
        };
        let seal_folder = match (folder, &config.seal.folder) {
            (Some(folder), _) => world.current_folder.join(folder),
            (None, Some(folder)) => data_folder.join(folder),
            (None, None) => config_folder(world)?,
        };
        let place = Place {
            data_folder,
            set_up: commands::may_set_up(&arguments.command),
            seal: kind.or(config.seal.kind).unwrap_or_default(),
            seal_folder,
            release_authorities: config.release_authority.clone(),
            locations: config.locations.clone(),
        };
        let (client, installation) = (OnceCell::new(), OnceCell::new());
        Ok(Self { world, global, config, place, client, installation })
    }

    /// The server, opened at first use.
    pub(crate) fn client(&self) -> Result<&Client, CliError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let transport = self
            .world
            .installations
            .open(&self.place, &self.machine(), &|what| self.passphrase(what))?;
        Ok(self.client.get_or_init(|| self.client_over(transport)))
    }

    /// From now on speaks to a repository that is opened by itself.
    pub(crate) fn use_repository(&self, repository: &LoneRepository) -> Result<(), CliError> {
        let transport = self.world.installations.open_repository(
            repository,
            &self.place,
            &self.machine(),
            &|what| self.passphrase(what),
        )?;
        self.client.get_or_init(|| self.client_over(transport));
        Ok(())
    }

    /// What the server says of itself.
    pub(crate) fn installation(&self) -> Result<&Installation, CliError> {
        if let Some(installation) = self.installation.get() {
            return Ok(installation);
        }
        let installation = self.client()?.installation()?;
        Ok(self.installation.get_or_init(|| installation))
    }

    /// Where things are.
    pub(crate) fn addresses(&self) -> Result<Addresses, CliError> {
        Ok(Addresses::new(self.installation()?.subscription_id))
    }

    /// The named resource group, or the one of the configuration, or the installation's.
    pub(crate) fn group(&self, named: Option<&str>) -> Result<ResourceGroupName, CliError> {
        match named.or(self.config.resource_group.as_deref()) {
            Some(name) => Ok(name.parse()?),
            None => Ok(self.installation()?.defaults.resource_group.clone()),
        }
    }

    /// The id of a resource of a kind in the named group, or in the usual one.
    pub(crate) fn resource_id(
        &self,
        group: &GroupOption,
        kind: &str,
        name: &str,
    ) -> Result<ResourceId, CliError> {
        let group = self.group(group.resource_group.as_deref())?;
        Ok(self.addresses()?.resource(&group, kind, name)?)
    }

    /// The resources of a kind: those of the named group, or all.
    pub(crate) fn resources(
        &self,
        group: Option<&str>,
        kind: &str,
    ) -> Result<Vec<Value>, CliError> {
        let scope = match group {
            Some(group) => self.addresses()?.group(&group.parse()?),
            None => self.addresses()?.subscription(),
        };
        Ok(self.client()?.list(&Addresses::collection(&scope, kind))?)
    }

    /// What the server takes from the machine.
    pub(crate) fn machine(&self) -> Machine {
        let (clock, entropy) = (&self.world.clock, &self.world.entropy);
        let user = self.world.user.clone();
        let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
        Machine { clock, entropy, user, clock_is_virtual: false }
    }

    /// Tells people something, unless they want quiet.
    pub(crate) fn say(&self, line: &str) {
        if !self.global.quiet {
            self.warn(line);
        }
    }

    /// Tells people something that they need to know.
    pub(crate) fn warn(&self, line: &str) {
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(self.world.stderr.borrow_mut(), "{line}");
    }

    /// Writes data to stdout.
    pub(crate) fn print(&self, data: &[u8]) -> Result<(), CliError> {
        let mut stdout = self.world.stdout.borrow_mut();
        stdout.write_all(data).and_then(|()| stdout.flush()).map_err(CliError::Output)
    }

    /// The output format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        self.global.output.or(self.config.output)
    }

    /// How progress is shown.
    pub(crate) fn progress(&self) -> ProgressMode {
        let quiet = self.global.quiet.then_some(ProgressMode::None);
        self.global.progress.or(quiet).or(self.config.progress).unwrap_or_default()
    }

    /// Whether errors are read by a script.
    pub(crate) fn wants_json_errors(&self) -> bool {
        self.global.wants_json_errors()
            || matches!(self.config.output, Some(Format::Json | Format::Jsonc))
    }

    /// Whether the environment asks for no colour (no-color.org).
    pub(crate) fn no_colour(&self) -> bool {
        (self.world.variable)("NO_COLOR").is_some_and(|value| !value.is_empty())
    }

    /// The absolute form of a path from the command line.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.world.current_folder.join(path)
    }

    /// The passphrase from the file that was named, or asked for on the terminal; `what` says
    /// what it is for.
    pub(crate) fn passphrase(&self, what: &str) -> Result<Zeroizing<String>, CliError> {
        let variable = || (self.world.variable)("CUSTODY_PASSPHRASE_FILE").map(PathBuf::from);
        if let Some(path) = self.global.passphrase_file.clone().or_else(variable) {
            return read_passphrase(&self.absolute(&path));
        }
        if !(self.world.terminals.stdin && self.world.terminals.stderr) {
            return Err(CliError::PassphraseMissing(what.to_owned()));
        }
        let asked = (self.world.ask_passphrase)(&format!("Passphrase for {what}: "));
        let passphrase = asked.map_err(|error| CliError::PassphraseMissing(error.to_string()))?;
        if passphrase.is_empty() {
            return Err(CliError::PassphraseMissing(format!("{what}; it was empty")));
        }
        Ok(passphrase)
    }

    /// Whether a passphrase would be asked for, so that a new one is asked for twice.
    pub(crate) fn asks_passphrase(&self) -> bool {
        self.global.passphrase_file.is_none()
            && (self.world.variable)("CUSTODY_PASSPHRASE_FILE").is_none()
    }

    fn client_over(&self, transport: Arc<dyn custody_client::Transport>) -> Client {
        let clock = Arc::clone(&self.world.clock);
        if self.global.verbose {
            let told = Told::new(transport, Arc::clone(&clock));
            return Client::new(Arc::new(told), clock);
        }
        Client::new(transport, clock)
    }
}

/// Reads a passphrase: the file's first line without its end.
fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let failed = |reason| CliError::Path {
        path: terminal::path(path.as_os_str().as_encoded_bytes()),
        reason,
    };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > PASSPHRASE_BYTES_MAX {
        let text = format!("a passphrase file has at most {PASSPHRASE_BYTES_MAX} bytes");
        return Err(CliError::Usage(text));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    if line.is_empty() {
        return Err(CliError::PassphraseMissing("the passphrase file is empty".to_owned()));
    }
    Ok(line)
}

fn data_folder(world: &Surroundings, global: &Global) -> Result<PathBuf, CliError> {
    let variable = || (world.variable)("CUSTODY_DATA_DIR").filter(|value| !value.is_empty());
    let named = global.data_dir.clone().or_else(|| variable().map(PathBuf::from));
    match named {
        Some(folder) => Ok(world.current_folder.join(folder)),
        None => Ok(xdg(world, "XDG_DATA_HOME", ".local/share")?.join("custody")),
    }
}

fn config_folder(world: &Surroundings) -> Result<PathBuf, CliError> {
    Ok(xdg(world, "XDG_CONFIG_HOME", ".config")?.join("custody"))
}

/// A base folder by the XDG rules: the variable if it is an absolute path, else below the home.
fn xdg(world: &Surroundings, variable: &str, below_home: &str) -> Result<PathBuf, CliError> {
    let set = (world.variable)(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || (world.variable)("HOME").map(|home| PathBuf::from(home).join(below_home));
    set.or_else(home).ok_or_else(|| {
        CliError::Usage(format!("neither {variable} nor HOME is set; name a --data-dir"))
    })
}
