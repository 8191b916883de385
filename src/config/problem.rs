//! What is wrong with a configuration, where, and what to do about it.
//!
//! Invariant: no secret is shown: a line of the file whose key names one is cut after the key. It refuses to know
//! the grammar; it only carries sentences and places.

use std::fmt;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// A place in the configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// First byte of the text in question.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// Where a value, or what is wrong with it, comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything: Larder's own default.
    #[default]
    Default,
    /// `preset: NAME` of a route.
    Preset(&'static str),
    /// The configuration file.
    File(Place),
    /// An environment variable.
    Env(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

/// Whether a problem stops the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration works, perhaps not as meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Whether it stops the start.
    pub severity: Severity,
    /// Where it is.
    pub source: Source,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// An error in what `source` said.
    pub(crate) fn of(source: Source, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, source, message: message.into(), hint: None }
    }

    /// An error at a place in the file.
    pub(crate) fn at(place: Place, message: impl Into<String>) -> Self {
        Self::of(Source::File(place), message)
    }

    /// An error that has no place.
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self::of(Source::Default, message)
    }

    /// The same with a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as a warning.
    #[must_use]
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Its place, if it is in the file.
    pub fn place(&self) -> Option<Place> {
        match self.source {
            Source::File(place) => Some(place),
            _ => None,
        }
    }

    /// The variable or flag it is about, for the head of the message.
    fn outside(&self) -> Option<String> {
        match self.source {
            Source::Env(name) => Some(format!("{name} (environment): ")),
            Source::Flag(name) => Some(format!("{name}: ")),
            Source::File(_) | Source::Default | Source::Preset(_) => None,
        }
    }
}

/// Everything that is to be said of one configuration, in the order of the file.
#[derive(Clone, Default)]
pub struct Report {
    /// The file as it was named; `None`: there is none.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    text: String,
}

impl Report {
    /// Sorts `problems` by place; those without one come first.
    pub(crate) fn new(file: Option<PathBuf>, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::place);
        Self { file, problems, text: text.to_owned() }
    }

    /// One problem that no line of the file can be blamed for.
    pub(crate) fn of(file: Option<PathBuf>, problem: Problem) -> Self {
        Self { file, problems: vec![problem], text: String::new() }
    }

    /// Only what `other` says as well, in the same words of the same place.
    #[must_use]
    pub(crate) fn shared_with(mut self, other: &Report) -> Self {
        let says = |said: &Problem| {
            let is_same = |one: &Problem| one.source == said.source && one.message == said.message;
            other.problems.iter().any(is_same)
        };
        self.problems.retain(says);
        self
    }

    /// Whether anything in it stops the start.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The report for people: message, place, the line in question, hint.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let file = self.file_name();
        self.problems.iter().map(|problem| self.render_one(&renderer, &file, problem) + "\n\n").collect()
    }

    /// The report for programs: `{ok, problems: [{severity, file, line, column, message, hint}]}`.
    pub fn json(&self) -> Value {
        let problems = self.problems.iter().map(|problem| {
            let place = problem.place();
            json!({
                "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
                "file": place.and(self.file.as_ref()),
                "line": place.map(|at| at.line),
                "column": place.map(|at| at.column),
                "message": problem.outside().unwrap_or_default() + &problem.message,
                "hint": problem.hint,
            })
        });
        json!({ "ok": !self.has_errors(), "problems": problems.collect::<Vec<_>>() })
    }

    fn file_name(&self) -> String {
        self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }

    fn render_one(&self, renderer: &Renderer, file: &str, problem: &Problem) -> String {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = problem.outside().unwrap_or_default() + &problem.message;
        let mut group = Group::with_title(level.primary_title(message));
        if let Some(place) = problem.place() {
            let (line, span) = self.line(place);
            group = group.element(
                Snippet::source(line)
                    .path(file)
                    .line_start(place.line as usize)
                    .annotation(AnnotationKind::Primary.span(span)),
            );
        }
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }

    /// The line of a place without any secret, and the span of the place in it.
    fn line(&self, place: Place) -> (String, std::ops::Range<usize>) {
        let start = floor(&self.text, place.start);
        let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let whole = self.text[begin..end].trim_end_matches('\r').trim_start_matches('\u{feff}');
        let line = match self.is_in_list_of_secrets(begin) {
            true => cut(whole, whole.find("- ").map_or(0, |at| at + 2)),
            false => without_secret(whole),
        };
        // What was cut out stands there as long as it was, so that the columns hold.
        let column = |byte: usize| {
            let before = whole[..floor(whole, byte)].chars().count();
            line.char_indices().nth(before).map_or(line.len(), |(at, _)| at)
        };
        let from = column(start - begin);
        let to = column(place.end.saturating_sub(begin)).max(from);
        (line, from..to)
    }

    /// Whether the line that begins there is an item of a list that stands below a secret's key.
    fn is_in_list_of_secrets(&self, begin: usize) -> bool {
        let is_item = |line: &str| line.trim_start().starts_with("- ");
        if !self.text[begin..].lines().next().is_some_and(is_item) {
            return false;
        }
        let above = self.text[..begin].lines().rev().find(|line| !is_item(line) && !line.trim().is_empty());
        let key = above.and_then(|line| line.trim().strip_suffix(':')).unwrap_or_default();
        let key = key.trim_matches(['"', '\'']).to_ascii_lowercase();
        SECRETS.iter().any(|name| key.ends_with(name))
    }
}

/// The nearest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Ends of keys that hold secrets.
const SECRETS: [&str; 7] = ["token", "secret", "secrets", "password", "authorization", "cookie", "api-key"];

/// The line with what follows a secret's key, or stands before the `@` of a URL, cut out.
fn without_secret(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let named = SECRETS.iter().filter_map(|name| {
        let after = lower.find(name)? + name.len();
        let rest = lower[after..].trim_start_matches(['"', '\'']).strip_prefix(": ")?;
        let value = rest.trim_matches([' ', '"', '\'']);
        (!value.is_empty() && !value.starts_with("${")).then_some(lower.len() - rest.len())
    });
    if let Some(colon) = named.min() {
        return cut(line, colon);
    }
    let userinfo = line.find("://").map(|at| at + 3).and_then(|from| {
        // A password that should have been escaped may hold a slash or an `@`.
        let word = line[from..].split([' ', '"', '\'', ',', ']']).next()?;
        Some((from, from + word.rfind('@')?))
    });
    match userinfo {
        Some((from, to)) => format!("{}…{}", &line[..from], &line[to..]),
        None => line.to_owned(),
    }
}

/// The line up to `from`, and a sign for the rest.
fn cut(line: &str, from: usize) -> String {
    let rest = line[from..].chars().count();
    format!("{}…{}", &line[..from], " ".repeat(rest.saturating_sub(1)))
}

impl fmt::Debug for Report {
    /// Without the text of the file, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, problems, text: _ } = self;
        f.debug_struct("Report").field("file", file).field("problems", problems).finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, place: Place) -> Report {
        Report::new(Some("larder.yaml".into()), text, vec![Problem::at(place, "no good").hint("do better")])
    }

    #[test]
    fn a_problem_is_shown_with_file_line_column_snippet_and_hint() {
        let report = report("a: 1\n  bad: x\n", Place { line: 2, column: 3, start: 7, end: 10 });
        let shown = report.render(false);
        for part in ["error: no good", "larder.yaml:2:3", "2 |   bad: x", "^^^", "help: do better"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'), "colour was not asked for");
        assert!(report.render(true).contains('\u{1b}'));
    }

    #[test]
    fn places_past_the_end_do_not_panic() {
        for (start, end) in [(99, 120), (2, 1), (3, 99)] {
            report("aé\n", Place { line: 1, column: 1, start, end }).render(true);
        }
    }

    #[test]
    fn a_secret_is_not_shown_in_a_snippet() {
        for line in [
            "  token: hunter2",
            "admin: { token: \"hunter2\" }",
            "    Authorization: Bearer hunter2",
            "upstream: http://user:hunter2@host",
            "  url: \"redis://:hun/ter2@h@host\"",
            "    secrets: [\"hunter2\", b]",
        ] {
            let shown = report(line, Place { line: 1, column: 1, start: 0, end: 3 }).render(false);
            assert!(!shown.contains("ter2"), "{shown}");
        }
        let list = "  secrets:\n    - a\n    - hunter2\n";
        let shown = report(list, Place { line: 3, column: 7, start: 23, end: 30 }).render(false);
        assert!(shown.contains("    - …") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(without_secret("  token: ${TOKEN}"), "  token: ${TOKEN}");
        let words = "  credentials: Authorization cookie:session";
        assert_eq!(without_secret(words), words);
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let json = report("a: 1\n", Place { line: 1, column: 4, start: 3, end: 4 }).json();
        assert_eq!(json["ok"], false);
        assert_eq!(json["problems"][0]["line"], 1);
        assert_eq!(json["problems"][0]["column"], 4);
        assert_eq!(json["problems"][0]["hint"], "do better");
    }

    #[test]
    fn problems_come_in_the_order_of_the_file() {
        let at = |line| Problem::at(Place { line, ..Place::default() }, line.to_string());
        let report = Report::new(None, "", vec![at(3), Problem::general("x"), at(1)]);
        let order: Vec<_> = report.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(order, ["x", "1", "3"]);
    }
}
