//! `custody forget`: gives up recovery points by rule or by name.

use std::cmp::Reverse;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::arguments::VaultOption;
use crate::commands::points;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Outcome, lay_out};
use crate::{human, items, jobs, terminal};

/// Why a point goes.
const NO_RULE: &str = "nothing keeps it";

/// Give up recovery points, by rule or by id
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody forget documents --keep-daily 7 --keep-weekly 4 \
    --dry-run\n  custody forget documents --keep-last 10 --yes\n  custody forget documents --point \
    3f2a9c --point 77b01e\n\nA point stays if any rule keeps it; --dry-run shows each point with the rules that keep it. The room \
    of those that go is freed by prune.\n\n\
    Exit codes: 0 done, 2 neither a rule nor a point was given, 5 no such item or point, 10 not \
    confirmed; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// The item
    item: String,
    /// Keep the newest N points
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the newest point of each of the last N hours that have one
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// Keep the newest point of each of the last N days that have one
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest point of each of the last N weeks that have one
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest point of each of the last N months that have one
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest point of each of the last N years that have one
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep all points that are at most N days older than the newest
    #[arg(long, value_name = "N")]
    keep_within_days: Option<u32>,
    /// Give up this point; may be given again
    #[arg(long = "point", value_name = "ID")]
    points: Vec<String>,
    /// Show what would be given up, and give up nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    vault: VaultOption,
}

/// Shows what goes and what stays, asks, and forgets.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let rule = rule(options)?;
    let item = items::find_item(context, &options.vault, &options.item)?;
    let action = format!("{}/forget", item.id);
    let plan = context.client()?.post(&action, &with_dry_run(&rule, true))?;
    let forgotten = plan.get("forget").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let text = text(context, &plan);
    if options.dry_run || forgotten == 0 {
        let text = format!("{text}{}\n", verdict("would be given up", forgotten));
        return Ok(Outcome::data(plan).with_text(text));
    }
    let consequence = format!("{text}{}", verdict("will be given up for ever", forgotten));
    confirm(context, options.yes, &consequence, &item.name)?;
    let done = jobs::run(context, &item.vault, &action, &with_dry_run(&rule, false))?;
    let value = done.to_json(json!({
        "item": item.name,
        "keep": plan.get("keep"),
        "forget": plan.get("forget"),
    }));
    let text = format!("{}\n", verdict("given up; custody prune frees their room", forgotten));
    Ok(Outcome::data(value).with_report(text).ending(done.exit()))
}

fn rule(options: &Options) -> Result<Map<String, Value>, CliError> {
    let counts = [
        ("keepLast", options.keep_last),
        ("keepHourly", options.keep_hourly),
        ("keepDaily", options.keep_daily),
        ("keepWeekly", options.keep_weekly),
        ("keepMonthly", options.keep_monthly),
        ("keepYearly", options.keep_yearly),
        ("keepWithinDays", options.keep_within_days),
    ];
    let given = counts.into_iter().filter_map(|(name, count)| Some((name, count?)));
    let mut rule: Map<String, Value> =
        given.map(|(name, count)| (name.to_owned(), count.into())).collect();
    if !options.points.is_empty() {
        rule.insert("points".to_owned(), json!(options.points));
    }
    if rule.is_empty() {
        let text = "say what is kept (--keep-last N …) or which points go (--point ID)";
        return Err(CliError::Usage(text.to_owned()));
    }
    Ok(rule)
}

fn with_dry_run(rule: &Map<String, Value>, dry_run: bool) -> Value {
    let mut body = rule.clone();
    body.insert("dryRun".to_owned(), dry_run.into());
    Value::Object(body)
}

fn verdict(what: &str, points: u64) -> String {
    format!("{} {what}", human::count(points, "recovery point"))
}

/// Every point, newest first: whether it stays and why.
fn text(context: &Context<'_>, plan: &Value) -> String {
    let listed = |field: &str| plan.get(field).and_then(Value::as_array).into_iter().flatten();
    let mut all: Vec<(&Value, &str)> = listed("keep").map(|point| (point, "keep")).collect();
    all.extend(listed("forget").map(|point| (point, "forget")));
    let word = |point: &Value, name: &str| {
        point.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    all.sort_by_key(|(point, _)| Reverse(points::taken(point)));
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|(point, what)| {
            let reasons = point.get("reasons").and_then(Value::as_array);
            let reasons: Vec<&str> =
                reasons.into_iter().flatten().filter_map(Value::as_str).collect();
            let because = if what == "keep" { reasons.join(", ") } else { NO_RULE.to_owned() };
            vec![
                what.to_owned(),
                terminal::line(&word(point, "point")),
                human::time(&word(point, "time"), &context.world.time_zone),
                terminal::line(&because),
            ]
        })
        .collect();
    if rows.is_empty() { String::new() } else { lay_out(&["", "Point", "Time", "Because"], rows) }
}
