//! `custody prune`: gives back the room of forgotten points.

use std::fmt::Write as _;

use clap::Args;
use custody_names::ResourceId;
use serde_json::{Value, json};

use crate::answers::number;
use crate::arguments::VaultOption;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::Outcome;
use crate::{human, jobs, vaults};

/// Free the room that no recovery point needs any more
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody prune --dry-run\n  custody prune --vault main\n  \
    custody prune --max-unused 0 --yes\n\nNo recovery point is touched: forget decides what goes, \
    prune frees its room. Packs that nothing needs are deleted; of those that are needed in part the \
    rest is copied, the most wasteful first, until no more than --max-unused is left. On a terminal \
    the plan is shown and confirmed first; where there is none, prune goes ahead.\n\n\
    Exit codes: 0 done, 7 the key may not be used, 10 not confirmed, 11 another process is busy with \
    it; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    #[command(flatten)]
    vault: VaultOption,
    /// Show what would be freed, and free nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave so many percent of what is stored unused, rather than copy what lies around it
    /// [default: 5]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    max_unused: Option<u8>,
    /// Do not show the plan first, and do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Prunes one vault or all of them.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let terminals = context.world.terminals;
    let asks = !options.dry_run && !options.yes && terminals.stdin && terminals.stderr;
    let (mut reports, mut text, mut exit) = (Vec::new(), String::new(), ExitCode::Success);
    for vault in vaults::all(context, &options.vault)? {
        let name = vault.name().unwrap_or_default();
        if asks {
            let plan = job(options, context, &vault, true)?;
            let told = told_plan(name, &plan.job.result);
            if is_empty(&plan.job.result) {
                text += &told;
                reports.push(plan.to_json(json!({ "vault": name, "result": plan.job.result })));
                continue;
            }
            confirm(context, false, told.trim_end(), name)?;
        }
        let done = job(options, context, &vault, options.dry_run)?;
        let result = &done.job.result;
        if options.dry_run {
            text += &told_plan(name, result);
        } else {
            let _ = writeln!(text, "vault {name}: {} ({})", told_done(result), done.took());
        }
        exit = if exit == ExitCode::Success { done.exit() } else { exit };
        reports.push(done.to_json(json!({ "vault": name, "result": result })));
    }
    let outcome = Outcome::data(reports).ending(exit);
    Ok(if options.dry_run { outcome.with_text(text) } else { outcome.with_report(text) })
}

fn job(
    options: &Options,
    context: &Context<'_>,
    vault: &ResourceId,
    dry_run: bool,
) -> Result<jobs::Done, CliError> {
    let mut body = json!({ "dryRun": dry_run });
    if let (Value::Object(body), Some(percent)) = (&mut body, options.max_unused) {
        body.insert("unusedPercentMax".to_owned(), percent.into());
    }
    jobs::run(context, vault, &format!("{vault}/prune"), &body)
}

fn is_empty(plan: &Value) -> bool {
    number(plan, "packsDeleted") == 0 && number(plan, "packsRewritten") == 0
}

/// What a prune would do.
fn told_plan(name: &str, plan: &Value) -> String {
    let packs = |field| human::count(number(plan, field), "pack");
    let size = |field| human::size(number(plan, field));
    let (kept, unused) = (packs("packsKept"), size("bytesUnusedLeft"));
    if is_empty(plan) {
        return format!("vault {name}: nothing to free ({kept} stay, {unused} of them unused)\n");
    }
    let mut text = format!("vault {name}: would free {}\n", size("bytesFreed"));
    if number(plan, "packsDeleted") > 0 {
        let _ = writeln!(text, "  {} that nothing needs deleted", packs("packsDeleted"));
    }
    if number(plan, "packsRewritten") > 0 {
        let (rewritten, copied) = (packs("packsRewritten"), size("bytesCopied"));
        let _ = writeln!(text, "  {rewritten} needed in part: {copied} copied, then deleted");
    }
    let _ = writeln!(text, "  {kept} stay, {unused} of them unused");
    text
}

/// What a prune did.
fn told_done(result: &Value) -> String {
    if number(result, "packsDeleted") == 0 && number(result, "objectsDeleted") == 0 {
        return "nothing to free".to_owned();
    }
    let mut text = format!(
        "freed {}: {} deleted",
        human::size(number(result, "bytesFreed")),
        human::count(number(result, "packsDeleted"), "pack"),
    );
    if number(result, "bytesCopied") > 0 {
        let _ = write!(text, ", {} copied", human::size(number(result, "bytesCopied")));
    }
    if number(result, "packsSpared") > 0 {
        let spared = human::count(number(result, "packsSpared"), "pack");
        let _ = write!(text, "; {spared} came to be needed meanwhile and stay");
    }
    text
}
