//! The rules of the house as tests: who may import whom, how long a file or function may be, and what is banned.
//!
//! The layering table is read out of `src/ARCHITECTURE.md`, so the page and the test cannot differ. Everything works
//! on tokens, so what a macro is given counts as well. It refuses to know what the code does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

const MAX_FILE_LINES: usize = 400;
const MAX_FN_LINES: usize = 70;

/// What may lie in the top directory, beside dotfiles and `target/`; only `deploy` may be absent.
const TOP: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "config", "deploy", "src", "tests"];

const BANNED_NAMES: [&str; 8] =
    ["utils", "util", "common", "helpers", "helper", "types", "manager", "managers"];

/// What a pure file never names.
const IMPURE: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "crate::clock::Clock",
    "hyper",
    "tokio",
    "tracing",
];

/// What lies there and is a value all the same.
const VALUES: [&str; 4] =
    ["std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr", "std::net::SocketAddr"];

/// Where the mistakes stand that the protocol of a fleet is there against.
const MODEL: &str = "tests/model/mutant.rs";

/// Where a test stands for each mistake that is planted.
const PROOFS: [&str; 4] = [
    "src/flow/simulation/mistakes.rs",
    "tests/checker/faults.rs",
    "tests/fleet/faults.rs",
    "tests/scenarios/fleet.rs",
];

// ---- the house as it stands -------------------------------------------------------------------------------------

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table = Table::of_the_house();
    assert_clean(house().iter().flat_map(|file| layering(file, &table)));
}

#[test]
fn every_import_is_written_from_the_crate_root() {
    assert_clean(house().iter().flat_map(relative_paths));
}

#[test]
fn pure_files_touch_nothing_outside() {
    let table = Table::of_the_house();
    assert_clean(house().iter().filter(|file| table.is_pure(file)).flat_map(impurities));
}

#[test]
fn files_and_functions_stay_small() {
    assert_clean(house().iter().flat_map(|file| long_file(file).into_iter().chain(long_functions(file))));
}

#[test]
fn tests_stand_last() {
    assert_clean(house().iter().flat_map(code_after_tests));
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_clean(
        ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)).flat_map(|f| header(&f)),
    );
}

#[test]
fn banned_items_stay_out() {
    assert_clean(house().iter().flat_map(banned_items));
}

#[test]
fn no_room_is_a_drawer() {
    assert_clean(house().iter().flat_map(banned_names));
}

#[test]
fn every_mistake_of_the_model_is_planted_in_the_code_and_noticed() {
    let proofs: Vec<Source> =
        PROOFS.iter().map(|path| Source::new(path, &read(&root().join(path)))).collect();
    let model = Source::new(MODEL, &read(&root().join(MODEL)));
    assert!(mutants(&model).count() >= 18, "{MODEL} has another form");
    assert_clean(unplanted(&model, &house(), &proofs));
}

#[test]
fn the_top_directory_holds_what_the_house_names() {
    let names = std::fs::read_dir(root()).expect("the crate's own directory");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    assert_clean(top_level(&names.collect::<Vec<_>>()));
}

// ---- the rules --------------------------------------------------------------------------------------------------

fn layering(file: &Source, table: &Table) -> Vec<Offence> {
    let room = file.room();
    if room == "lib" {
        return Vec::new();
    }
    let Some(allowed) = table.rows.get(room) else {
        return vec![
            file.offence(1, format!("room `{room}` has no row in src/ARCHITECTURE.md; give it one")),
        ];
    };
    let code = file.without_tests();
    let mut offences = Vec::new();
    for (path, line) in paths(&code, &["crate", "larder"]) {
        let path = &path[1..];
        let target = path[0].as_str();
        if target == room {
            continue;
        }
        if !table.rows.contains_key(target) {
            let what = format!("`crate::{target}` is no room of the table in src/ARCHITECTURE.md; add a row");
            offences.push(file.offence(line, what));
        } else if !allowed.covers(path) {
            let path = path.join("::");
            let what =
                format!("`{room}` may not import `crate::{path}`; let `app` join them, or change the table");
            offences.push(file.offence(line, what));
        }
    }
    offences
}

fn relative_paths(file: &Source) -> Vec<Offence> {
    let code = file.without_tests();
    let mut in_use = false;
    let mut offences = Vec::new();
    for (at, token) in code.iter().enumerate() {
        match token.text.as_str() {
            "use" => in_use = true,
            ";" => in_use = false,
            "super" | "self" if is(&code, at + 1, "::") && (in_use || token.text == "super") => {
                let what = format!("`{}::` hides an import; write the path from `crate::`", token.text);
                offences.push(file.offence(token.line, what));
            }
            _ => {}
        }
    }
    offences
}

fn impurities(file: &Source) -> Vec<Offence> {
    let named = paths(&file.without_tests(), &["std", "crate", "hyper", "tokio", "tracing"]);
    let among = |path: &[String], list: &[&str]| list.iter().any(|item| is_below(path, item));
    let impure = named.into_iter().filter(|(path, _)| among(path, &IMPURE) && !among(path, &VALUES));
    let offence = |(path, line): (Vec<String>, usize)| {
        file.offence(line, format!("`{}` in a pure file; take the value as an argument", path.join("::")))
    };
    impure.map(offence).collect()
}

fn long_file(file: &Source) -> Option<Offence> {
    let tests: usize = file.tests().iter().map(|(from, to)| to - from + 1).sum();
    let lines = file.text.lines().count() - tests;
    (lines > MAX_FILE_LINES && !file.is_test).then(|| {
        file.offence(
            1,
            format!("{lines} lines without its tests, at most {MAX_FILE_LINES}; split it by noun"),
        )
    })
}

fn long_functions(file: &Source) -> Vec<Offence> {
    let code = file.without_tests();
    let starts =
        (0..code.len()).filter(|&at| is(&code, at, "fn") && code.get(at + 1).is_some_and(Token::is_name));
    let mut offences = Vec::new();
    for at in starts {
        let end = end_of_item(&code, at);
        let lines = code[end].line - code[at].line + 1;
        if lines > MAX_FN_LINES {
            let name = &code[at + 1].text;
            let what = format!("fn {name} has {lines} lines, at most {MAX_FN_LINES}; move a leaf out");
            offences.push(file.offence(code[at].line, what));
        }
    }
    offences
}

fn code_after_tests(file: &Source) -> Option<Offence> {
    let (_, end) = file.test_modules().into_iter().last()?;
    let after = file.tokens.iter().find(|token| token.line > end)?;
    Some(file.offence(after.line, "code after `mod tests`; tests stand last"))
}

fn header(file: &Source) -> Option<Offence> {
    let opens = file.text.starts_with("//! ");
    (!opens).then(|| file.offence(1, "open with `//!`: its job, its invariant, what it refuses to know"))
}

fn banned_items(file: &Source) -> Vec<Offence> {
    let reads_clock = file.path == "src/clock.rs";
    let code = file.without_tests();
    let tokio_instant = paths(&code, &["tokio"]).iter().any(|(path, _)| path[1..] == ["time", "Instant"]);
    let mut offences = Vec::new();
    for at in 0..code.len() {
        let what = if matches(&code, at, &[".", "unwrap", "(", ")"]) {
            "`.unwrap()`: use `?`, or `expect` with the invariant that holds"
        } else if ["todo", "unimplemented", "dbg"].iter().any(|name| matches(&code, at, &[name, "!"])) {
            "`todo!`, `unimplemented!`, `dbg!`: finish it"
        } else if ["print", "println", "eprint", "eprintln"].iter().any(|m| matches(&code, at, &[m, "!"])) {
            "printing panics on a full disk; use `tracing`, or return the text (`cli` has `say` and `complain`)"
        } else if !reads_clock && reads_time(&code, at, tokio_instant) {
            "the clock has one reader, clock.rs; take a `Now` (I/O deadlines: `tokio::time::Instant::now()`)"
        } else {
            continue;
        };
        offences.push(file.offence(code[at].line, what));
    }
    offences
}

/// `Instant::now` or `SystemTime::now`; `tokio_instant` says that a bare `Instant` in this file is tokio's.
fn reads_time(code: &[Token], at: usize, tokio_instant: bool) -> bool {
    let spelt_out = at >= 4 && matches(code, at - 4, &["tokio", "::", "time", "::", "Instant"]);
    matches(code, at, &["SystemTime", "::", "now"])
        || matches(code, at, &["Instant", "::", "now"]) && !spelt_out && !tokio_instant
}

fn banned_names(file: &Source) -> Vec<Offence> {
    let of_file = Path::new(&file.path).components().map(|part| (part.as_os_str().to_string_lossy(), 1));
    let of_file = of_file.map(|(part, line)| (part.trim_end_matches(".rs").to_owned(), line));
    let inline = file.tokens.windows(2).filter(|pair| pair[0].text == "mod");
    let inline = inline.map(|pair| (pair[1].text.clone(), pair[1].line));
    let banned = |name: &str| {
        BANNED_NAMES.contains(&name)
            || BANNED_NAMES.iter().any(|banned| name.ends_with(&format!("_{banned}")))
    };
    let named = of_file.chain(inline).filter(|(name, _)| banned(name));
    named
        .map(|(name, line)| file.offence(line, format!("`{name}` names no thing; give it its room")))
        .collect()
}

/// The model's mistakes that the code does not know or no test is for, and what is planted as one of the protocol's and is not
/// among them. They are compared by name, and there is no exception.
fn unplanted(model: &Source, house: &[Source], proofs: &[Source]) -> Vec<Offence> {
    let behind = |files: &[Source], lead: &[&str]| -> Vec<String> {
        let code = files.iter().filter(|file| !file.is_test).flat_map(|file| file.behind(lead));
        code.map(|token| token.text.clone()).collect()
    };
    let planted =
        [behind(house, &["made", "(", "Mistake", "::"]), behind(house, &["is", "(", "Fault", "::"])].concat();
    let noticed = [behind(proofs, &[":"]), behind(proofs, &["Fault", "::"])].concat();
    let mut offences = Vec::new();
    for mutant in mutants(model) {
        if !planted.contains(&mutant.text) {
            offences.push(
                model.offence(mutant.line, format!("`{}` is planted nowhere in the code", mutant.text)),
            );
        } else if !noticed.contains(&mutant.text) {
            offences.push(
                model.offence(mutant.line, format!("`{}` is planted, and no test is for it", mutant.text)),
            );
        }
    }
    for file in house.iter().filter(|file| !file.is_test) {
        let strangers = file.behind(&["made", "(", "Mistake", "::"]);
        let strangers = strangers.filter(|token| mutants(model).all(|mutant| mutant.text != token.text));
        offences.extend(
            strangers.map(|token| file.offence(token.line, format!("`{}` is not in {MODEL}", token.text))),
        );
    }
    offences
}

/// Each mistake of the model: `Name: PROMISE in STORY`.
fn mutants(model: &Source) -> impl Iterator<Item = &Token> {
    let rows = model.tokens.windows(4).filter(|row| row[1].text == ":" && row[3].text == "in");
    rows.map(|row| &row[0]).filter(|name| name.text.starts_with(char::is_uppercase))
}

fn top_level(names: &[String]) -> Vec<Offence> {
    let visible = names.iter().filter(|name| !name.starts_with('.') && *name != "target");
    let strangers = visible.filter(|name| !TOP.contains(&name.as_str()));
    let strangers = strangers.map(|name| Offence::new(name, 1, "has no place in the top directory; move it"));
    let missing = TOP.iter().filter(|name| **name != "deploy" && !names.iter().any(|there| there == *name));
    strangers.chain(missing.map(|name| Offence::new(name, 1, "is missing from the top directory"))).collect()
}

// ---- the table --------------------------------------------------------------------------------------------------

/// The layering table: what each room may import, and which rooms are pure.
struct Table {
    rows: BTreeMap<String, Allowed>,
    /// Pure rooms, with the files of theirs that are not.
    pure: BTreeMap<String, Vec<String>>,
}

#[derive(Clone)]
enum Allowed {
    All,
    /// Rooms, or single items as `clock::Now`.
    These(Vec<String>),
}

impl Table {
    fn of_the_house() -> Self {
        Self::parse(&read(&root().join("src/ARCHITECTURE.md")))
    }

    /// Reads the rows under `| room | may import | pure |`; names stand in backticks.
    fn parse(page: &str) -> Self {
        let mut table = Self { rows: BTreeMap::new(), pure: BTreeMap::new() };
        let mut corridor = Vec::new();
        let rows = page.lines().skip_while(|line| !line.starts_with("| room | may import | pure |")).skip(2);
        for row in rows.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [rooms, imports, pure] = cells[..] else { panic!("three cells are wanted: {row}") };
            let names = quoted(rooms);
            if rooms.starts_with("corridor") {
                corridor.clone_from(&names);
            }
            let allowed = match imports {
                "all" => Allowed::All,
                _ => Allowed::These(quoted(imports)),
            };
            for name in names {
                if pure.starts_with("yes") {
                    table.pure.insert(name.clone(), quoted(pure));
                }
                table.rows.insert(name, allowed.clone());
            }
        }
        assert!(!corridor.is_empty(), "src/ARCHITECTURE.md has no table with a row `corridor`");
        for allowed in table.rows.values_mut() {
            if let Allowed::These(names) = allowed
                && names.iter().any(|name| name == "corridor")
            {
                names.extend(corridor.iter().cloned());
            }
        }
        table
    }

    fn is_pure(&self, file: &Source) -> bool {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        self.pure.get(file.room()).is_some_and(|except| !except.iter().any(|other| other == name))
    }
}

impl Allowed {
    fn covers(&self, path: &[String]) -> bool {
        let Self::These(names) = self else { return true };
        names.iter().any(|name| is_below(path, name))
    }
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

// ---- files and tokens -------------------------------------------------------------------------------------------

struct Source {
    /// From the top directory, with `/`.
    path: String,
    text: String,
    tokens: Vec<Token>,
    /// Nothing but tests: some file says `#[cfg(test)] mod` of it.
    is_test: bool,
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path} does not lex: {error}"));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Self { path: path.to_owned(), text: text.to_owned(), tokens, is_test: false }
    }

    /// `src/store/entry.rs` and `src/store.rs` lie in `store`.
    fn room(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// First and last token of every item under `#[cfg(test)]`.
    fn test_items(&self) -> Vec<(usize, usize)> {
        let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
        let mut items = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if matches(&self.tokens, at, &mark) {
                let end = end_of_item(&self.tokens, at + mark.len());
                items.push((at, end));
                at = end;
            }
            at += 1;
        }
        items
    }

    fn tests(&self) -> Vec<(usize, usize)> {
        let lines = |(from, to): (usize, usize)| (self.tokens[from].line, self.tokens[to].line);
        self.test_items().into_iter().map(lines).collect()
    }

    /// First and last line of every `#[cfg(test)] mod name {…}`.
    fn test_modules(&self) -> Vec<(usize, usize)> {
        let items = self.test_items().into_iter().zip(self.tests());
        let inline = |from: usize| is(&self.tokens, from + 7, "mod") && is(&self.tokens, from + 9, "{");
        items.filter(|((from, _), _)| inline(*from)).map(|(_, lines)| lines).collect()
    }

    /// Where the file of every `#[cfg(test)] mod name;` lies, without `.rs`.
    fn test_files(&self) -> Vec<String> {
        let outline = |from: usize| is(&self.tokens, from + 7, "mod") && is(&self.tokens, from + 9, ";");
        let items = self.test_items().into_iter().filter(|(from, _)| outline(*from));
        let folder = self.path.trim_end_matches(".rs");
        let folder =
            ["/mod", "/lib", "/main"].iter().find_map(|own| folder.strip_suffix(own)).unwrap_or(folder);
        items.map(|(from, _)| format!("{folder}/{}", self.tokens[from + 8].text)).collect()
    }

    fn without_tests(&self) -> Vec<Token> {
        if self.is_test {
            return Vec::new();
        }
        let items = self.test_items();
        let in_tests = |at: usize| items.iter().any(|(from, to)| (*from..=*to).contains(&at));
        let code = self.tokens.iter().enumerate().filter(|(at, _)| !in_tests(*at));
        code.map(|(_, token)| token.clone()).collect()
    }

    /// What follows each of these.
    fn behind(&self, lead: &[&str]) -> impl Iterator<Item = &Token> {
        let at = (0..self.tokens.len()).filter(|at| matches(&self.tokens, *at, lead));
        at.filter_map(|at| self.tokens.get(at + lead.len()))
    }

    fn offence(&self, line: usize, what: impl Into<String>) -> Offence {
        Offence::new(&self.path, line, what)
    }
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                into.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), into);
                into.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                trees.next();
                into.push(Token { text: "::".to_owned(), line });
            }
            other => into.push(Token { text: other.to_string(), line }),
        }
    }
}

fn is(code: &[Token], at: usize, text: &str) -> bool {
    code.get(at).is_some_and(|token| token.text == text)
}

fn matches(code: &[Token], at: usize, pattern: &[&str]) -> bool {
    pattern.iter().enumerate().all(|(offset, text)| is(code, at + offset, text))
}

/// Index of the token that ends the item: its `;`, its closing brace, or the last token inside what encloses it.
fn end_of_item(code: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return at - 1,
            "}" if depth == 1 => return at,
            ")" | "]" | "}" => depth -= 1,
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    code.len() - 1
}

/// Every path that begins at one of these roots, use trees unfolded, with its line; never the bare root.
fn paths(code: &[Token], roots: &[&str]) -> Vec<(Vec<String>, usize)> {
    let mut paths = Vec::new();
    for at in 0..code.len() {
        if roots.iter().any(|root| is(code, at, root)) && is(code, at + 1, "::") {
            unfold(code, at + 2, &mut vec![code[at].text.clone()], &mut paths);
        }
    }
    paths.retain(|(path, _)| path.len() > 1);
    paths
}

/// Whether the path is `item` (as `a::b`) or lies below it.
fn is_below(path: &[String], item: &str) -> bool {
    item.split("::").eq(path.iter().take(item.split("::").count()))
}

/// Reads one use tree (or plain path) at `at`, and gives the index after it.
fn unfold(
    code: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    paths: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let depth = prefix.len();
    let line = code.get(at).map_or(0, |token| token.line);
    while code.get(at).is_some_and(Token::is_name) {
        prefix.push(code[at].text.clone());
        at += 1;
        if !is(code, at, "::") {
            break;
        }
        at += 1;
    }
    if is(code, at, "{") {
        while at < code.len() && !is(code, at, "}") {
            at = unfold(code, at + 1, prefix, paths);
            while at < code.len() && !is(code, at, ",") && !is(code, at, "}") {
                at += 1; // `as name`
            }
        }
        at += 1;
    } else if !prefix.is_empty() {
        paths.push((prefix.clone(), line));
    }
    prefix.truncate(depth);
    at
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn house() -> Vec<Source> {
    with_tests_marked(sources("src"))
}

fn with_tests_marked(mut files: Vec<Source>) -> Vec<Source> {
    let tests: Vec<String> = files.iter().flat_map(Source::test_files).collect();
    for file in &mut files {
        let below =
            |test: &String| file.path.strip_prefix(test).is_some_and(|rest| rest.starts_with(['.', '/']));
        file.is_test = tests.iter().any(below);
    }
    files
}

/// Every Rust file below `folder`; none where the folder is absent.
fn sources(folder: &str) -> Vec<Source> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push(Source::new(&name, &read(&path)));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

#[derive(Debug)]
struct Offence {
    path: String,
    line: usize,
    what: String,
}

impl Offence {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

#[track_caller]
fn assert_clean(offences: impl IntoIterator<Item = Offence>) {
    let lines: Vec<String> = offences.into_iter().map(|offence| offence.to_string()).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

// ---- each rule can fail -----------------------------------------------------------------------------------------

mod each_rule_can_fail {
    use super::*;

    const PAGE: &str = "\
| room | may import | pure |
|---|---|---|
| corridor: `body`, `clock` | nothing of ours | |
| `policy` | `clock::Now` | yes |
| `guard` | nothing of ours | yes, but for `stream.rs` |
| `store` | `policy`, `corridor` | |
| `flow` | `store` | |
| `cli` | all | |
";

    /// The lines of the offences that `rule` finds in one file.
    fn lines<O: IntoIterator<Item = Offence>>(
        path: &str,
        text: &str,
        rule: impl Fn(&Source) -> O,
    ) -> Vec<usize> {
        rule(&Source::new(path, text)).into_iter().map(|offence| offence.line).collect()
    }

    fn layers(path: &str, text: &str) -> Vec<usize> {
        lines(path, text, |file| layering(file, &Table::parse(PAGE)))
    }

    #[test]
    fn an_import_against_the_table() {
        assert_eq!(layers("src/store/mod.rs", "use crate::flow::handle;"), [1]);
        assert_eq!(
            layers("src/store/mod.rs", "use crate::{body::Body,\n flow::{self, handle as h}};"),
            [2, 2]
        );
        assert_eq!(layers("src/store.rs", "fn f() {\n crate::flow::handle() }"), [2]);
        assert_eq!(layers("src/store.rs", "fn f() { select! {\n x = crate::flow::h() => {} } }"), [2]);
        assert_eq!(layers("src/store.rs", "fn f(x: Vec<crate::flow::X>) -> crate::body::Body {}"), [1]);
        assert_eq!(layers("src/policy/mod.rs", "use crate::clock::Clock;"), [1]);
        assert_eq!(layers("src/policy/mod.rs", "use crate::clock;"), [1]);
        assert_eq!(layers("src/body.rs", "use crate::clock::Now;"), [1]);
    }

    #[test]
    fn but_not_one_that_it_allows() {
        assert!(
            layers("src/store/mod.rs", "use crate::policy::{self, Rule}; use crate::store::x::Y;").is_empty()
        );
        assert!(layers("src/store/mod.rs", "use crate::{body::Body, clock};").is_empty());
        assert!(layers("src/policy/mod.rs", "use crate::clock::Now; pub(crate) fn f() {}").is_empty());
        assert!(layers("src/cli/run.rs", "use crate::flow::handle;").is_empty());
        assert!(layers("src/policy.rs", "#[cfg(test)] mod tests { use crate::store::X; }").is_empty());
    }

    #[test]
    fn a_room_that_the_table_does_not_name() {
        assert_eq!(layers("src/cellar.rs", "fn f() {}"), [1]);
        assert_eq!(layers("src/cli/mod.rs", "\nuse crate::cellar::X;"), [2]);
    }

    #[test]
    fn a_relative_import() {
        assert_eq!(lines("src/a.rs", "use super::flow::x;", relative_paths), [1]);
        assert_eq!(lines("src/a.rs", "use self::b::x;", relative_paths), [1]);
        assert_eq!(lines("src/a.rs", "fn f() {\n super::flow::x() }", relative_paths), [2]);
        assert!(
            lines("src/a.rs", "use crate::a::{self, B}; pub(super) fn f(&self) {}", relative_paths)
                .is_empty()
        );
        assert!(lines("src/a.rs", "#[cfg(test)]\nmod tests { use super::*; }", relative_paths).is_empty());
    }

    #[test]
    fn io_in_a_pure_file() {
        assert_eq!(lines("src/policy.rs", "fn f() { std::fs::read(p) }", impurities), [1]);
        assert_eq!(lines("src/policy.rs", "use tokio::net::TcpStream;", impurities), [1]);
        assert_eq!(lines("src/policy.rs", "use std::net::{IpAddr,\n TcpStream};", impurities), [2]);
        assert_eq!(lines("src/policy.rs", "use std::{fmt,\n fs::File};", impurities), [2]);
        assert_eq!(lines("src/policy.rs", "use crate::clock::{Now, Clock};", impurities), [1]);
        assert_eq!(lines("src/policy.rs", "fn f() {}\nfn g() { tracing::info!(\"x\") }", impurities), [2]);
        let table = Table::parse(PAGE);
        let is_pure = |path| table.is_pure(&Source::new(path, ""));
        assert!(is_pure("src/policy/vary.rs") && is_pure("src/guard/chunk.rs"));
        assert!(!is_pure("src/guard/stream.rs") && !is_pure("src/store/mod.rs"));
    }

    #[test]
    fn a_long_file() {
        let filled = |lines: usize| "const X: u8 = 0;\n".repeat(lines);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", filled(500));
        assert!(long_file(&Source::new("src/a.rs", &(filled(MAX_FILE_LINES) + &tests))).is_none());
        assert!(long_file(&Source::new("src/a.rs", &(filled(MAX_FILE_LINES + 1) + &tests))).is_some());
    }

    #[test]
    fn but_a_file_of_tests_may_be_long() {
        let files = ["src/a/mod.rs", "src/a/proofs.rs", "src/a/proof.rs"];
        let texts = ["#[cfg(test)]\nmod proofs;\nmod proof;", "", ""];
        let files = files.iter().zip(texts).map(|(path, text)| Source::new(path, text)).collect();
        let marked: Vec<bool> = with_tests_marked(files).iter().map(|file| file.is_test).collect();
        assert_eq!(marked, [false, true, false]);
    }

    #[test]
    fn a_long_function() {
        let of = |lines: usize| format!("impl A {{\nfn f(x: fn(u8)) {{\n{}}} }}", "x();\n".repeat(lines - 2));
        assert!(lines("src/a.rs", &of(MAX_FN_LINES), long_functions).is_empty());
        assert_eq!(lines("src/a.rs", &of(MAX_FN_LINES + 1), long_functions), [2]);
    }

    #[test]
    fn code_below_its_tests() {
        assert_eq!(lines("src/a.rs", "#[cfg(test)]\nmod tests {\n}\nfn f() {}", code_after_tests), [4]);
        assert!(lines("src/a.rs", "#[cfg(test)]\nuse b::C;\nfn f() {}", code_after_tests).is_empty());
        assert!(lines("src/a.rs", "#[cfg(test)]\nmod proofs;\nfn f() {}", code_after_tests).is_empty());
    }

    #[test]
    fn a_file_without_a_head() {
        assert_eq!(lines("src/a.rs", "// a\nfn f() {}", header), [1]);
        assert!(lines("src/a.rs", "//! What it is for.\n", header).is_empty());
    }

    #[test]
    fn a_banned_item() {
        for text in [
            "fn f() { x.unwrap() }",
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"later\") }",
            "fn f() { dbg!(x); }",
            "fn f() { println!(\"x\") }",
            "fn f() { eprintln!(\"x\") }",
            "fn f() { std::time::Instant::now() }",
            "fn f() { Instant::now() }",
            "fn f() { g(SystemTime::now) }",
        ] {
            assert_eq!(lines("src/store/mod.rs", text, banned_items), [1], "{text}");
        }
    }

    #[test]
    fn but_not_where_it_belongs() {
        assert!(lines("src/clock.rs", "fn f() { Instant::now() }", banned_items).is_empty());
        assert!(lines("src/a.rs", "fn f() { tokio::time::Instant::now() }", banned_items).is_empty());
        assert!(
            lines("src/a.rs", "use tokio::time::{Instant, sleep}; fn f() { Instant::now() }", banned_items)
                .is_empty()
        );
        assert!(lines("src/a.rs", "fn f() { x.unwrap_or(1) } // todo!()", banned_items).is_empty());
        assert!(
            lines("src/a.rs", "#[cfg(test)] mod tests { fn f() { x.unwrap() } }", banned_items).is_empty()
        );
    }

    #[test]
    fn a_drawer() {
        assert_eq!(lines("src/store/utils.rs", "", banned_names), [1]);
        assert_eq!(lines("src/helpers/mod.rs", "", banned_names), [1]);
        assert_eq!(lines("src/store/mod.rs", "\nmod pool_manager {}", banned_names), [2]);
        assert!(lines("src/store/typesetting.rs", "mod entry;", banned_names).is_empty());
    }

    #[test]
    fn a_mistake_that_only_the_model_knows() {
        let model = Source::new(
            "m.rs",
            "mutants! {\n A: FRESH in CALM;\n B: KEPT in Wipe { x: 1, ..CALM };\n C: FRESH in X; }",
        );
        let house =
            [Source::new("src/a.rs", "fn f() { made(Mistake::A) || fault::is(Fault::B) || x(Mistake::C) }")];
        let found = |house: &[Source], proofs: &str| {
            let offences = unplanted(&model, house, &[Source::new("tests/p.rs", proofs)]);
            offences.into_iter().map(|offence| (offence.path, offence.line)).collect::<Vec<_>>()
        };
        let at = |path: &str, line| (path.to_owned(), line);
        assert_eq!(found(&house, "noticed! { [B] a: A by x; c: C; }"), [at("m.rs", 3), at("m.rs", 4)]);
        assert_eq!(found(&house, "noticed! { a: A by x; } f(Fault::B)"), [at("m.rs", 4)]);
        let stranger = [Source::new(
            "src/a.rs",
            "fn f() { made(Mistake::A) || is(Fault::B) || made(Mistake::C) || \nmade(Mistake::D) }",
        )];
        assert_eq!(found(&stranger, "n! { a: A, b: B, c: C, }"), [at("src/a.rs", 2)]);
    }

    #[test]
    fn a_stray_file_at_the_top() {
        let mut names: Vec<String> = TOP.iter().map(|name| (*name).to_owned()).collect();
        names.extend([".ci".to_owned(), "target".to_owned()]);
        assert!(top_level(&names).is_empty());
        names.push("docs".to_owned());
        names.retain(|name| name != "README.md" && name != "deploy");
        let found: Vec<String> = top_level(&names).into_iter().map(|offence| offence.path).collect();
        assert_eq!(found, ["docs", "README.md"]);
    }
}
