//! An explanation for people: one topic a line, aligned, the answer first. Colour marks what the answer says in a word, and nothing else.

use std::time::Duration;

use crate::config::show_duration;
use crate::flow::explain::wire::{
    Becomes, By, Demoted, Entries, Explanation, Key, KnownTags, Of, Outcome, Route, Stored, Tags, Told, When,
    Write,
};

/// Width of the topics.
const TOPIC: usize = 10;

/// Lines under topics.
struct Page {
    text: String,
    colour: bool,
}

/// `offline`: by a configuration alone.
pub(crate) fn of(explanation: &Explanation, offline: bool, colour: bool) -> String {
    let mut page = Page { text: format!("{}\n\n", explanation.request), colour };
    page.outcome(explanation);
    if let Some(route) = &explanation.route {
        page.route(route);
    }
    if let Some(entries) = &explanation.entries {
        page.entries(entries);
    }
    if let Some(key) = &explanation.key {
        page.key(key);
    }
    match &explanation.stored {
        Some(stored) => page.stored(stored),
        None if explanation.key.is_some() && !offline => page.line("stored", "nothing for this request"),
        None => {}
    }
    if explanation.in_flight {
        page.line("", "it is being fetched just now");
    }
    if let Some(others) = &explanation.variants {
        let by = others.vary_by.join(", ");
        let many = if others.count == 1 { "variant" } else { "variants" };
        page.line("variants", &format!("{} {many} for other requests, told apart by {by}", others.count));
    }
    if let Some(refused) = &explanation.last_refused {
        page.line("last", &format!("not kept {} ago: {}", seconds(refused.ago), refused.why));
    }
    if let Some(tags) = &explanation.tags {
        page.tags(tags, explanation);
    }
    if let Some(write) = &explanation.write {
        page.write(write, offline);
    }
    if offline {
        page.text.push_str("\nBy the configuration alone, as if nothing were stored.\n");
    }
    page.text
}

impl Page {
    fn line(&mut self, topic: &str, words: &str) {
        self.text.push_str(format!("  {topic:TOPIC$}{words}").trim_end());
        self.text.push('\n');
    }

    fn outcome(&mut self, explanation: &Explanation) {
        let Outcome { told, decided_by, when, or } = &explanation.outcome;
        let what = match explanation.becomes {
            Becomes::Read if *decided_by == By::Cache && told.x_cache.as_deref() != Some("BYPASS") => {
                "Larder answers by itself"
            }
            Becomes::Read => "the origin is asked",
            Becomes::Write => "it goes to the origin, and outdates what follows",
            Becomes::Pass if explanation.would.is_some() => {
                "it goes to the origin, as the route is in shadow mode"
            }
            Becomes::Pass => "it goes to the origin, and its answer is not kept",
            Becomes::Tunnel => "both ends are joined",
            Becomes::Webhook => "a webhook: signed, it outdates what it names, and goes nowhere",
            Becomes::Purge => "a purge: with a token that may, it outdates its path, and goes nowhere",
            Becomes::Refused => "refused, and not forwarded",
        };
        self.told("answer", told, when.filter(|_| !or.is_empty()));
        self.line("", what);
        if let Some(because) = &explanation.because {
            self.line("because", because);
        }
        for other in or {
            self.told("or", &other.told, Some(other.when));
        }
        if let Some(Outcome { told, when, or, .. }) = &explanation.would {
            self.told("otherwise", told, when.filter(|_| !or.is_empty()));
            or.iter().for_each(|other| self.told("or", &other.told, Some(other.when)));
        }
    }

    fn told(&mut self, topic: &str, told: &Told, when: Option<When>) {
        let cache = told.x_cache.as_deref().unwrap_or("its own");
        let painted =
            if self.colour { format!("{}{cache}\u{1b}[0m", colour(cache)) } else { cache.to_owned() };
        let pad = " ".repeat(13_usize.saturating_sub(cache.len()));
        let status = told.status.map(|status| status.to_string()).unwrap_or_default();
        let words = told.cache_status.as_deref().unwrap_or_default();
        let words =
            [words, &status].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
        let when = when.map(|when| format!("   {}", condition(when))).unwrap_or_default();
        self.line(topic, &format!("{painted}{pad}{words:<42}{when}"));
    }

    fn route(&mut self, route: &Route) {
        let mut words = vec![route.template.clone()];
        words.extend(route.captures.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(route.ttl.map(|ttl| format!("ttl {}", seconds(ttl))));
        words.push(format!("scope {}", route.scope));
        self.line("rule", &words.join("  "));
        if let Some(Demoted { ago, status }) = route.demoted {
            let ago = seconds(ago);
            self.line(
                "",
                &format!("public no longer: {ago} ago the origin answered {status} without a credential"),
            );
            self.line("", "until Larder starts anew, who sends a credential has entries of his own");
        }
    }

    fn entries(&mut self, entries: &Entries) {
        let whose = match entries.of {
            Of::Everybody => "everybody's",
            Of::Credential => "this credential's own",
            Of::Nobody => "none",
        };
        self.line("entries", &format!("{whose}: {}", entries.why));
        if !entries.credentials.is_empty() {
            self.line("", &format!("credentials: {}", entries.credentials.join(", ")));
        }
    }

    fn key(&mut self, key: &Key) {
        let query = if key.query.is_empty() { String::new() } else { format!("?{}", key.query) };
        self.line("key", &format!("{}://{}{}{query}", key.scheme, key.host, key.path));
        if !key.dropped.is_empty() {
            self.line("", &format!("without {}, which does not count", key.dropped.join(", ")));
        }
        for (name, lines) in &key.headers {
            let lines = if lines.is_empty() { "(absent)".to_owned() } else { lines.join(", ") };
            self.line("", &format!("{name}: {lines}"));
        }
        let more = [
            (key.credential, "a digest of the credentials"),
            (key.content, "a digest of method and content"),
        ];
        for (_, what) in more.into_iter().filter(|(is_there, _)| *is_there) {
            self.line("", what);
        }
    }

    fn stored(&mut self, stored: &Stored) {
        let part = if stored.part { ", a part" } else { "" };
        let life = match u64::try_from(stored.ttl) {
            Ok(left) => format!("fresh for {} more ({})", seconds(left), stored.by),
            Err(_) => format!("stale for {} ({})", seconds(stored.ttl.unsigned_abs()), stored.by),
        };
        let hits = if stored.hits == 1 { "1 hit".to_owned() } else { format!("{} hits", stored.hits) };
        self.line(
            "stored",
            &format!(
                "{}{part}, {} bytes, {} old, {life}, {hits}",
                stored.status,
                stored.bytes,
                seconds(stored.age)
            ),
        );
        if let Some(softened) = stored.softened {
            self.line("", &format!("made stale by a soft invalidation {} ago", seconds(softened)));
        }
        if stored.always_validate {
            self.line("", "the origin is asked before it is used");
        }
        let windows = [
            (stored.stale_while_revalidate, "while it is fetched anew"),
            (stored.stale_if_error, "for an origin that fails"),
        ];
        let windows: Vec<String> = windows
            .into_iter()
            .filter(|(window, _)| *window > 0)
            .map(|(window, what)| format!("{} {what}", seconds(window)))
            .collect();
        if !windows.is_empty() {
            self.line("", &format!("beyond that {}", windows.join(", ")));
        }
    }

    fn tags(&mut self, tags: &Tags, explanation: &Explanation) {
        let known = match tags.known {
            KnownTags::All => "tags",
            KnownTags::SoFar => "tags so far",
        };
        for (nth, tag) in tags.tags.iter().enumerate() {
            let topic = match nth {
                0 if known.len() < TOPIC => known,
                0 => {
                    self.line("tags", "(the answer may bring more)");
                    ""
                }
                _ => "",
            };
            self.line(topic, tag);
            let by = explanation.dropped_by.iter().filter(|dropped| dropped.tag == *tag);
            for by in by.flat_map(|dropped| &dropped.by) {
                self.line("", &format!("  dropped by {by}"));
            }
        }
    }

    fn write(&mut self, write: &Write, offline: bool) {
        for target in &write.target {
            self.line("outdates", target);
        }
        for rule in &write.rules {
            let marks = [
                (rule.soft, "makes stale"),
                (rule.refresh, "fetches what was hot again"),
                (rule.conditional, "if the answer says so"),
            ];
            let marks: Vec<&str> =
                marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, mark)| mark).collect();
            let marks = if marks.is_empty() { String::new() } else { format!("   ({})", marks.join("; ")) };
            self.line("", &format!("{}   by {}{marks}", rule.outdates.join(" "), rule.rule));
        }
        if !write.derived.is_empty() {
            self.line("derived", &write.derived.join(" "));
        }
        if offline {
            return;
        }
        let entries = if write.entries == 1 { "entry" } else { "entries" };
        self.line("now", &format!("{} {entries}", write.entries));
        let width = write.by_route.keys().map(|route| route.chars().count()).max().unwrap_or_default();
        for (route, count) in &write.by_route {
            self.line("", &format!("  {route:width$}  {count}"));
        }
    }
}

fn condition(when: When) -> &'static str {
    match when {
        When::Kept => "if the origin's answer may be kept",
        When::Confirmed => "if the origin confirms what is stored",
        When::NotKept => "if the origin's answer may not be kept",
        When::Demoted => "if it asks for a credential: the route is public no longer then",
        When::Answered => "if the origin answers",
        When::Told => "if another node has an answer",
        When::NoAnswer => "if the origin gives no answer",
        When::Failed => "if the origin fails",
    }
}

fn colour(cache: &str) -> &'static str {
    match cache {
        "HIT" | "REVALIDATED" => "\u{1b}[32m",
        "MISS" | "STALE" => "\u{1b}[33m",
        _ => "\u{1b}[31m",
    }
}

fn seconds(seconds: u64) -> String {
    show_duration(Duration::from_secs(seconds))
}
