//! `custody env`: what a client needs to know to use the server.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;
use crate::serving::Reached;
use crate::{hosts, terminal};

/// Print what clients need: variables, cloud registration for az, host names
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eval \"$(custody env)\"\n  custody env --shell fish | source\n  \
    custody env --json\n\nThe secret of the administrator's application stays in its file; the \
    output names that file.\n\nExit codes: 0 done, 5 nothing is set up yet; the others are in \
    docs/exit-codes.md."
)]
pub(crate) struct Options {
    /// Shell to write for [default: $SHELL, else bash]
    #[arg(long, value_enum, value_name = "SHELL")]
    pub shell: Option<Shell>,
    /// Print a JSON object for scripts
    #[arg(long)]
    pub json: bool,
}

/// The shells whose way of setting variables is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh, dash and the like
    Bash,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// Prints what clients need.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let reached = Reached::find(context)?;
    let facts = facts(context, &reached)?;
    if !reached.is_running {
        context.warn("no server runs on this data folder; this is what `custody up` will serve");
    }
    if options.json {
        return Ok(Outcome::data(facts));
    }
    let shell = options.shell.unwrap_or_else(|| of_environment(context));
    let text = script(shell, &facts, &hosts::wanted(context, &reached)?);
    Ok(Outcome { text: Some(text), ..Outcome::nothing() })
}

/// The facts, under the names that scripts rely on.
fn facts(context: &Context<'_>, reached: &Reached) -> Result<Value, CliError> {
    let installation = context.installation()?;
    let base = &reached.base;
    Ok(json!({
        "resourceManager": base.main(),
        "authority": base.main(),
        "tenantId": installation.tenant_id,
        "subscriptionId": installation.subscription_id,
        "keyVaultSuffix": format!("vault.{}", base.authority()),
        "managedHsmSuffix": format!("managedhsm.{}", base.authority()),
        "managedIdentityEndpoint": reached.managed_identity_endpoint,
        "caFile": reached.authority_file.as_ref().map(|path| path.to_string_lossy()),
        "administrator": reached.administrator,
    }))
}

fn of_environment(context: &Context<'_>) -> Shell {
    let shell = (context.world.variable)("SHELL").unwrap_or_default();
    let name = shell.to_string_lossy();
    match name.rsplit('/').next() {
        Some("fish") => Shell::Fish,
        Some("pwsh" | "powershell") => Shell::Powershell,
        _ => Shell::Bash,
    }
}

/// Variables to set, and beside them as comments what is done once.
fn script(shell: Shell, facts: &Value, hosts: &[String]) -> String {
    let fact = |path: &str| facts.pointer(path).and_then(Value::as_str);
    let mut text = String::new();
    let authority = fact("/authority");
    let variables = [
        ("AZURE_AUTHORITY_HOST", authority),
        ("AZURE_TENANT_ID", fact("/tenantId")),
        ("AZURE_SUBSCRIPTION_ID", fact("/subscriptionId")),
        ("AZURE_CLIENT_ID", fact("/administrator/clientId")),
        ("REQUESTS_CA_BUNDLE", fact("/caFile")),
        ("SSL_CERT_FILE", fact("/caFile")),
        ("NODE_EXTRA_CA_CERTS", fact("/caFile")),
    ];
    // Writing to a String cannot fail.
    for (name, value) in variables {
        if let Some(value) = value {
            let _ = writeln!(text, "{}", shell.assignment(name, value));
        }
    }
    let mut say = |line: &str| {
        let _ = writeln!(text, "# {line}");
    };
    if fact("/caFile").is_some() {
        say("REQUESTS_CA_BUNDLE and SSL_CERT_FILE replace the system's authorities in this shell.");
    }
    let secret = fact("/administrator/clientSecretFile");
    if let Some(file) = secret {
        say("The SDKs' EnvironmentCredential also wants the administrator's secret:");
        say(&shell.assignment_of_file("AZURE_CLIENT_SECRET", file));
    }
    say("az, once:");
    let authority = authority.unwrap_or_default();
    say(&format!("  az cloud register -n custody --endpoint-resource-manager {authority}/"));
    say("  az config set core.instance_discovery=false");
    say("  az cloud set -n custody");
    if let (Some(client), Some(file), Some(tenant)) =
        (fact("/administrator/clientId"), secret, fact("/tenantId"))
    {
        let file = shell.content_of(file);
        say(&format!("  az login --service-principal -u {client} -p {file} --tenant {tenant}"));
    }
    say("Host names, where they do not resolve by themselves (`custody trust hosts` writes them):");
    for line in hosts {
        say(&format!("  {line}"));
    }
    text
}

impl Shell {
    fn assignment(self, name: &str, value: &str) -> String {
        let value = self.quoted(value);
        match self {
            Self::Bash => format!("export {name}={value}"),
            Self::Fish => format!("set -gx {name} {value}"),
            Self::Powershell => format!("$env:{name} = {value}"),
        }
    }

    fn assignment_of_file(self, name: &str, file: &str) -> String {
        let content = self.content_of(file);
        match self {
            Self::Bash => format!("export {name}={content}"),
            Self::Fish => format!("set -gx {name} {content}"),
            Self::Powershell => format!("$env:{name} = {content}"),
        }
    }

    fn content_of(self, file: &str) -> String {
        let file = self.quoted(file);
        match self {
            Self::Bash => format!("\"$(cat {file})\""),
            Self::Fish => format!("(cat {file})"),
            Self::Powershell => format!("(Get-Content {file})"),
        }
    }

    /// A text that the shell takes as it is. Control characters never stand in one of ours; if a
    /// path holds some, they are shown instead of obeyed.
    fn quoted(self, text: &str) -> String {
        let text = terminal::line(text);
        match self {
            Self::Bash => format!("'{}'", text.replace('\'', r"'\''")),
            Self::Fish => format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'")),
            Self::Powershell => format!("'{}'", text.replace('\'', "''")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_quotes() {
        let check = |shell: Shell, expected: &str| {
            assert_eq!(shell.assignment("A", r"it's a \ $(x)"), expected);
        };
        check(Shell::Bash, r"export A='it'\''s a \ $(x)'");
        check(Shell::Fish, r"set -gx A 'it\'s a \\ $(x)'");
        check(Shell::Powershell, r"$env:A = 'it''s a \ $(x)'");
    }

    #[test]
    fn a_script_names_all_that_a_client_needs() {
        let facts = json!({
            "authority": "https://custody.localhost:8443",
            "tenantId": "T",
            "subscriptionId": "S",
            "caFile": "/data/ca.pem",
            "administrator": { "clientId": "C", "clientSecretFile": "/seal/secret" },
        });
        let text = script(Shell::Bash, &facts, &["127.0.0.1 custody.localhost".to_owned()]);
        for line in [
            "export AZURE_AUTHORITY_HOST='https://custody.localhost:8443'",
            "export AZURE_TENANT_ID='T'",
            "export AZURE_CLIENT_ID='C'",
            "export REQUESTS_CA_BUNDLE='/data/ca.pem'",
            "export SSL_CERT_FILE='/data/ca.pem'",
            "export NODE_EXTRA_CA_CERTS='/data/ca.pem'",
            "#   az cloud register -n custody --endpoint-resource-manager \
             https://custody.localhost:8443/",
            "#   az config set core.instance_discovery=false",
            "#   az login --service-principal -u C -p \"$(cat '/seal/secret')\" --tenant T",
            "#   127.0.0.1 custody.localhost",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
        assert!(!text.lines().any(|line| line.starts_with("export AZURE_CLIENT_SECRET")));
    }
}
