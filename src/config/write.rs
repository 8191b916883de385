//! `writes:` as the file has it: which requests a rule is about, and what it says of them.
//!
//! Invariant: a rule that no write can ever fall under is refused: one of methods that read, of a path that only an
//! ambiguous request has, of a status that outdates nothing.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use crate::config::problem::{Place, Source};
use crate::config::reach::Word;
use crate::config::reader::{Reader, map_schema, nearest};
use crate::config::shape::{At, Entry, Refusal, Scalar, Shape, Words, section};
use crate::config::template::Template;
use crate::config::tree::{Kind, Node};
use crate::route::write::{self, Methods, Rule};

/// What to write instead of a key that is none.
const HINT: &str = "write e.g. PUT|PATCH /api/projects/{id}";

section! {
    /// One of `writes:`.
    WriteKeys {
        /// What is outdated: tags and paths, with what the request holds in braces, and `credential`: every entry of whoever
        /// wrote. The target path itself always is.
        invalidate: Words<Word>,
        /// Whether what is derived from it is outdated too (`dependencies`).
        cascade: bool = "true",
        /// Makes stale instead of removing; the target path itself is always removed.
        soft: bool = "false",
        /// Fetches what was dropped and was hot, before it is asked for.
        refresh: bool = "false",
        /// What the rule asks of the answer besides.
        when: When,
    }
}

section! {
    /// `when:` of a write rule.
    When {
        /// One of these statuses.
        status: Words<Effect>,
        /// JSONPath to a value of the answer, or else of the request.
        path: JsonPath,
        /// What that value may be; case does not matter.
        states as "in": Words<String>,
    }
}

/// A status with which a write has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effect(pub(crate) StatusCode);

impl Scalar for Effect {
    const WHAT: &'static str = "a status";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let status = text.parse().ok().filter(|_| text.len() == 3);
        let Some(status) = status.filter(|status: &StatusCode| (100..600).contains(&status.as_u16())) else {
            return Err(Refusal::new(format!("`{text}` is not a status"), "write e.g. 201"));
        };
        if !(status.is_success() || status.is_redirection()) {
            let message = format!("no rule applies at {text}");
            let hint = "a write has an effect at 2xx and 3xx; where nobody knows, `when` is not asked";
            return Err(Refusal::new(message, hint));
        }
        Ok(Self(status))
    }

    fn show(&self) -> String {
        self.0.as_str().to_owned()
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 200, "maximum": 399 },
            { "type": "string", "pattern": "^[23][0-9][0-9]$|\\$\\{" },
        ] })
    }
}

/// `writes:` in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(pub(crate) Vec<RawWrite>);

/// One rule as it is written.
#[derive(Clone, Debug)]
pub(crate) struct RawWrite {
    /// Its key.
    pub(crate) name: String,
    /// Where the key stands.
    pub(crate) place: Place,
    /// Which methods it is about.
    pub(crate) methods: Methods,
    /// Which paths.
    pub(crate) template: Template,
    /// What it says.
    pub(crate) keys: WriteKeys,
}

/// What stands behind the key: keys, or what is outdated by itself.
#[derive(Clone, Debug)]
struct Said(WriteKeys);

impl Shape for Said {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Kind::Text(_) | Kind::List(_) = node.kind {
            let invalidate = At { value: Words::read(node, reader)?, source: Source::File(node.place) };
            return Some(Self(WriteKeys { invalidate: Some(invalidate), ..WriteKeys::default() }));
        }
        let keys = WriteKeys::read(node, reader)?;
        let names = |name: &str| match &node.kind {
            Kind::Map(entries) => entries.iter().any(|(key, _)| key.text == name),
            _ => false,
        };
        if !names("invalidate") && !names("refresh") {
            let hint = "write invalidate: project:{id}; the target path is outdated by every write anyhow";
            reader.refuse(node.place, "names nothing to invalidate", hint);
            return None;
        }
        Some(Self(keys))
    }

    fn show(&self, path: &[String], source: Source, out: &mut Vec<Entry>) {
        self.0.show(path, source, out);
    }

    fn schema() -> Value {
        json!({ "anyOf": [<Words<Word> as Shape>::schema(), WriteKeys::schema()] })
    }
}

impl Shape for Writes {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut rules = Vec::new();
        for (key, value) in reader.entries(node)? {
            let said = reader.value::<Said>(key, value);
            match head(&key.text) {
                Ok((methods, template)) => rules.extend(said.map(|said| {
                    RawWrite {
                        name: key.text.clone(),
                        place: key.place,
                        methods,
                        template,
                        // A `when` that nobody says asks nothing.
                        keys: said
                            .value
                            .0
                            .over(WriteKeys { when: None, ..WriteKeys::built_in().unwrap_or_default() }),
                    }
                })),
                Err(refusal) => reader.problems.push(refusal.problem(Source::File(key.place))),
            }
        }
        Some(Self(rules))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for rule in &self.0 {
            rule.keys.show(&[path, std::slice::from_ref(&rule.name)].concat(), Source::File(rule.place), out);
        }
    }

    fn schema() -> Value {
        map_schema("^[A-Z|]+ /", &Said::schema())
    }
}

/// Methods and template of a key: `PUT|PATCH /api/projects/{id}`.
fn head(key: &str) -> Result<(Methods, Template), Refusal> {
    let Some((methods, path)) = key.split_once(' ') else {
        let hint = if key.starts_with('/') { format!("write e.g. ANY {key}") } else { HINT.to_owned() };
        return Err(Refusal::new(format!("the write rule `{key}` names no {}", missing(key)), hint));
    };
    let methods = methods_of(methods)?;
    let template = Template::of("the write rule", path.trim())?;
    Ok((methods, template))
}

fn missing(key: &str) -> &'static str {
    if key.starts_with('/') { "method" } else { "path" }
}

fn methods_of(text: &str) -> Result<Methods, Refusal> {
    if text == "ANY" {
        return Ok(Methods::Any);
    }
    let mut methods: Vec<Method> = Vec::new();
    for word in text.split('|') {
        let method = method(word)?;
        if methods.contains(&method) {
            return Err(Refusal::new(format!("`{text}` names {word} twice"), "name each method once"));
        }
        methods.push(method);
    }
    Ok(Methods::Of(methods))
}

fn method(word: &str) -> Result<Method, Refusal> {
    const WRITING: [&str; 5] = ["post", "put", "patch", "delete", "any"];
    let no_method = || Refusal::new(format!("`{word}` is not a method"), HINT);
    match word {
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" => {
            let hint = "name methods that write: POST, PUT, PATCH, DELETE, or ANY for all of them";
            Err(Refusal::new(format!("a read outdates nothing, and {word} is one"), hint))
        }
        "ANY" => Err(Refusal::new("`ANY` stands for every method that writes", "write it by itself")),
        "PURGE" => Err(Refusal::new("a PURGE is answered by Larder itself", HINT)),
        "CONNECT" => Err(Refusal::new("CONNECT is a tunnel, no write", HINT)),
        "POST" | "PUT" | "PATCH" | "DELETE" => word.parse().map_err(|_| no_method()),
        // An unknown method is unsafe, and there are many; but most that nobody knows are slips.
        _ => match nearest(word, &WRITING) {
            Some(near) => {
                let hint = format!("did you mean {}?", near.to_ascii_uppercase());
                Err(Refusal::new(format!("`{word}` is not a method"), hint))
            }
            None if word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') => {
                word.parse().map_err(|_| no_method())
            }
            None => Err(no_method()),
        },
    }
}

impl RawWrite {
    /// The rule that it is.
    pub(crate) fn rule(&self) -> Rule {
        let keys = &self.keys;
        let is = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| at.value);
        let words = keys.invalidate.as_ref().map(|at| at.value.0.as_slice()).unwrap_or_default();
        Rule {
            name: self.name.clone(),
            methods: self.methods.clone(),
            template: self.template.shape().clone(),
            when: keys.when.as_ref().map(|at| at.value.rule()),
            invalidate: words.iter().filter_map(Word::named).map(|named| named.item.clone()).collect(),
            credential: words.iter().any(|word| matches!(word, Word::Credential)),
            cascade: is(&keys.cascade),
            soft: is(&keys.soft),
            refresh: is(&keys.refresh),
        }
    }
}

impl When {
    fn rule(&self) -> write::When {
        let status = self.status.as_ref().map(|at| at.value.0.iter().map(|status| status.0).collect());
        write::When {
            status: status.unwrap_or_default(),
            path: self.path.as_ref().map(|at| at.value.clone()),
            states: self.states.as_ref().map(|at| at.value.0.clone()).unwrap_or_default(),
        }
    }
}
