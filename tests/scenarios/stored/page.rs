//! Reads `config/STORED.md`: its tables as rows that can be played.
//!
//! Invariant: every line that begins with `|` belongs to a table that is understood as a whole; what cannot be read is
//! an error with its line, never skipped. It refuses to know what is true.

use std::time::Duration;

/// Method or status, and fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    /// Where it matters.
    pub(crate) body: Option<String>,
}

/// A row of any table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// In the page, from 1.
    pub(crate) line: usize,
    pub(crate) request: Message,
    pub(crate) response: Message,
    /// The configuration, but for the upstream.
    pub(crate) yaml: String,
    pub(crate) claim: Claim,
}

/// What a row says of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is stored.
    Stored { fresh: Duration, shared: Shared, stale: Stale },
    /// It is not: the `detail` of Cache-Status, or another of its parameters as a whole.
    Refused(String),
    /// What requests that come later get.
    Later { steps: Vec<Step>, cache: String, status: Option<u16> },
}

/// Who is answered from the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    Everybody,
    WithoutCredential,
    SameCredential,
}

/// For how long a stale entry is used, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) while_fetched: Duration,
    pub(crate) on_error: Duration,
}

/// One later request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Since the one before.
    pub(crate) after: Duration,
    pub(crate) request: Message,
    /// What the origin answers, if it is asked; `None`: the same as at first.
    pub(crate) answered: Option<u16>,
}

const COLUMNS: [&str; 8] =
    ["request", "response", "settings", "stored", "shared with", "when stale", "later", "gets"];

/// All rows of the page, or everything that is wrong with it.
pub(crate) fn rows(page: &str) -> Result<Vec<Row>, Vec<String>> {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let mut header: Option<Vec<&str>> = None;
    for (nth, text) in page.lines().enumerate() {
        let line = nth + 1;
        let Some(cells) = cells(text) else {
            header = None;
            continue;
        };
        let read = match &header {
            None => columns(&cells).map(|columns| header = Some(columns)),
            Some(_) if cells.iter().all(|cell| cell.chars().all(|letter| letter == '-')) => Ok(()),
            Some(columns) => row(line, columns, &cells).map(|row| rows.push(row)),
        };
        wrong.extend(read.err().map(|why| format!("line {line}: {why}: {text}")));
    }
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

fn cells(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('|')?;
    Some(inner.strip_suffix('|').unwrap_or(inner).split('|').map(str::trim).collect())
}

fn columns<'a>(cells: &[&'a str]) -> Result<Vec<&'a str>, String> {
    match cells.iter().find(|cell| !COLUMNS.contains(cell)) {
        Some(unknown) => Err(format!("no column is called `{unknown}`")),
        None if cells.contains(&"stored") == cells.contains(&"gets") => {
            Err("a table has `stored`, or `later` and `gets`".to_owned())
        }
        None => Ok(cells.to_vec()),
    }
}

fn row(line: usize, columns: &[&str], cells: &[&str]) -> Result<Row, String> {
    if columns.len() != cells.len() {
        return Err(format!("{} cells for {} columns", cells.len(), columns.len()));
    }
    let cell = |name: &str| columns.iter().position(|column| *column == name).map(|at| cells[at]);
    let needed = |name: &str| cell(name).ok_or(format!("there is no column `{name}`"));
    Ok(Row {
        line,
        request: message(cell("request").unwrap_or("`GET`"))?,
        response: message(needed("response")?)?,
        yaml: yaml(cell("settings").unwrap_or("`1h`"))?,
        claim: match cell("stored") {
            Some(stored) => claim(stored, cell("shared with"), cell("when stale"))?,
            None => later(needed("later")?, needed("gets")?)?,
        },
    })
}

/// The code spans of a cell, and what stands outside of them.
fn spans(cell: &str) -> Result<(Vec<&str>, String), String> {
    let parts: Vec<&str> = cell.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return Err(format!("a lone backtick in `{cell}`"));
    }
    let code = parts.iter().skip(1).step_by(2).copied().collect();
    let text: Vec<&str> = parts.iter().step_by(2).map(|text| text.trim()).collect();
    Ok((code, text.join(" ").trim().to_owned()))
}

fn message(cell: &str) -> Result<Message, String> {
    let (code, text) = spans(cell)?;
    if !text.is_empty() {
        return Err(format!("`{text}` is neither method, status nor field"));
    }
    of_spans(&code)
}

fn of_spans(code: &[&str]) -> Result<Message, String> {
    let [start, rest @ ..] = code else { return Err("no method and no status".to_owned()) };
    let is_start = start.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !is_start {
        return Err(format!("`{start}` is no method and no status"));
    }
    let mut message = Message { start: (*start).to_owned(), fields: Vec::new(), body: None };
    for span in rest {
        if span.starts_with('{') {
            message.body = Some((*span).to_owned());
        } else {
            let (name, value) = span.split_once(": ").ok_or(format!("`{span}` is no field"))?;
            message.fields.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(message)
}

/// What stands behind the path of a route, or `none`; and keys of the top level.
fn yaml(cell: &str) -> Result<String, String> {
    let (code, text) = spans(cell)?;
    let keys = ["defaults: ", "identity: ", "invalidation: ", "limits: "];
    let is_top = |span: &&str| keys.iter().any(|key| span.starts_with(key));
    let (top, route): (Vec<&str>, Vec<&str>) = code.into_iter().partition(is_top);
    let mut lines = match (route.as_slice(), text.as_str()) {
        ([], "none") => Vec::new(),
        ([route], "") => vec![format!("routes: {{ /a: {route} }}")],
        _ => return Err(format!("`{cell}` is neither one route nor `none`")),
    };
    lines.extend(top.into_iter().map(str::to_owned));
    Ok(lines.join("\n"))
}

fn claim(stored: &str, shared: Option<&str>, stale: Option<&str>) -> Result<Claim, String> {
    if let Some(reason) = stored.strip_prefix("no: ") {
        let (code, text) = spans(reason)?;
        let ([word], "") = (code.as_slice(), text.as_str()) else {
            return Err(format!("`{reason}` is no word"));
        };
        let silent = |cell: Option<&str>| cell.is_none_or(str::is_empty);
        if !silent(shared) || !silent(stale) {
            return Err("what is not stored is neither shared nor stale".to_owned());
        }
        return Ok(Claim::Refused((*word).to_owned()));
    }
    let fresh = stored.strip_prefix("for ").ok_or(format!("`{stored}` is neither `for …` nor `no: …`"))?;
    let shared = match shared {
        Some("everybody") => Shared::Everybody,
        None | Some("everybody without a credential") => Shared::WithoutCredential,
        Some("the same credential") => Shared::SameCredential,
        Some(other) => return Err(format!("nobody is called `{other}`")),
    };
    Ok(Claim::Stored { fresh: duration(fresh)?, shared, stale: stale.map_or(Ok(Stale::default()), windows)? })
}

fn windows(cell: &str) -> Result<Stale, String> {
    let mut stale = Stale::default();
    if cell == "your API is asked" {
        return Ok(stale);
    }
    for part in cell.split(", ") {
        let (time, when) = part.split_once(' ').ok_or(format!("`{part}` names no time"))?;
        match when {
            "while it is fetched" => stale.while_fetched = duration(time)?,
            "if your API fails" => stale.on_error = duration(time)?,
            other => return Err(format!("nothing happens `{other}`")),
        }
    }
    Ok(stale)
}

fn later(cell: &str, gets: &str) -> Result<Claim, String> {
    let steps: Result<Vec<Step>, String> = cell.split(", then ").map(step).collect();
    let (code, text) = spans(gets)?;
    let [cache] = code[..] else { return Err(format!("`{gets}` names no X-Cache")) };
    let status = if text.is_empty() { None } else { Some(number(&text)?) };
    Ok(Claim::Later { steps: steps?, cache: cache.to_owned(), status })
}

fn step(cell: &str) -> Result<Step, String> {
    let (code, text) = spans(cell)?;
    let mut step = Step { after: Duration::ZERO, request: of_spans(&code)?, answered: None };
    for word in text.split(", ").filter(|word| !word.is_empty()) {
        if let Some(time) = word.strip_prefix("after ") {
            step.after = duration(time)?;
        } else if let Some(status) = word.strip_prefix("answered ") {
            step.answered = Some(number(status)?);
        } else {
            return Err(format!("`{word}` is no circumstance"));
        }
    }
    Ok(step)
}

fn number(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is no status"))
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is no time"))
}

mod tests {
    use super::*;

    const HEAD: &str = "| response | stored |\n|---|---|\n";

    #[test]
    fn a_row_says_what_its_columns_do_not_leave_out() {
        let row = &rows(&format!("{HEAD}| `200` `Age: 5` `{{}}` | for 1m 5s |")).unwrap()[0];
        assert_eq!(
            (row.line, row.request.start.as_str(), row.yaml.as_str()),
            (3, "GET", "routes: { /a: 1h }")
        );
        assert_eq!(row.response.fields, [("Age".to_owned(), "5".to_owned())]);
        assert_eq!(row.response.body.as_deref(), Some("{}"));
        let (shared, stale) = (Shared::WithoutCredential, Stale::default());
        assert_eq!(row.claim, Claim::Stored { fresh: Duration::from_secs(65), shared, stale });
    }

    #[test]
    fn a_row_that_cannot_be_read_is_refused() {
        for row in [
            "| `200` |",
            "| `200` | for 1m | more |",
            "| `200` | for ever |",
            "| `200` | perhaps |",
            "| `200` | no: no-store |",
            "| `200` `Age` | for 1m |",
            "| 200 | for 1m |",
            "| `200` `Age: 5 | for 1m |",
            "| | for 1m |",
        ] {
            assert!(rows(&format!("{HEAD}{row}")).is_err(), "{row}");
        }
        for table in [
            "| response | kept |\n|---|---|",
            "| response | settings | stored |\n|---|---|---|\n| `200` | `1h` `2h` | for 1h |",
            "| response | stored | shared with |\n|---|---|---|\n| `200` | for 1h | friends |",
            "| response | stored | shared with |\n|---|---|---|\n| `200` | no: `private` | everybody |",
            "| response | stored | when stale |\n|---|---|---|\n| `200` | for 1h | perhaps |",
            "| response | later | gets |\n|---|---|---|\n| `200` | `GET` soon | `HIT` |",
            "| response | later | gets |\n|---|---|---|\n| `200` | `GET` | a hit |",
            "| response | gets |\n|---|---|\n| `200` | `HIT` |",
        ] {
            assert!(rows(table).is_err(), "{table}");
        }
    }
}
