//! `admin.tokens:`: further tokens by name, and what each may do.

use serde_json::Value;

use crate::admin::{Role, Token};
use crate::config::problem::{Place, Problem, Source};
use crate::config::reader::{Reader, map_schema};
use crate::config::secret::Secret;
use crate::config::shape::{At, Entry, Shape, choice, section};
use crate::config::tree::{Kind, Node};

choice!(Role, "what a token may do", { "read" => Role::Read, "purge" => Role::Purge, "all" => Role::All });

section! {
    /// One of `admin.tokens`.
    TokenKeys {
        /// The bearer token; one that a placeholder leaves empty lets nobody in.
        token: Secret,
        /// What its holder may do: look (read), invalidate too (purge), or everything (all).
        may: Role = "read",
    }
}

/// `admin.tokens:` in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(pub(crate) Vec<NamedToken>);

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct NamedToken {
    /// Its name, for the audit list.
    name: String,
    /// Where the name stands.
    place: Place,
    /// What it says.
    keys: TokenKeys,
}

impl Shape for Tokens {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut tokens = Vec::new();
        for (key, value) in reader.entries(node)? {
            let keys = reader.value::<TokenKeys>(key, value);
            let is_named = |name: &str| match &value.kind {
                Kind::Map(entries) => entries.iter().any(|(key, _)| key.text == name),
                _ => false,
            };
            let Some(keys) = keys else { continue };
            if keys.value.token.is_none() {
                if is_named("token") {
                    // A placeholder left it empty, or it is refused already.
                    continue;
                }
                let problem =
                    Problem::at(key.place, format!("`{}` of `admin.tokens` has no `token`", key.text));
                reader.problems.push(problem.hint("write { token: \"${CI_TOKEN:-}\", may: purge }"));
            }
            let keys = keys.value.over(TokenKeys::built_in().unwrap_or_default());
            tokens.push(NamedToken { name: key.text.clone(), place: key.place, keys });
        }
        Some(Self(tokens))
    }

    fn show(&self, path: &[String], _: Source, out: &mut Vec<Entry>) {
        for token in &self.0 {
            let path = [path, std::slice::from_ref(&token.name)].concat();
            token.keys.show(&path, Source::File(token.place), out);
        }
    }

    fn schema() -> Value {
        map_schema("", &TokenKeys::schema())
    }
}

impl Tokens {
    /// Those that have a token.
    pub(crate) fn settings(&self) -> Vec<Token> {
        let settings = self.0.iter().filter_map(|named| {
            let token = named.keys.token.as_ref()?.value.0.clone();
            Some(Token { name: named.name.clone(), token, may: named.keys.may.as_ref()?.value })
        });
        settings.collect()
    }

    /// Tokens that are equal, to one another or to `admin.token`: nobody could say whose request it is.
    pub(crate) fn complain(&self, master: Option<&At<Secret>>, problems: &mut Vec<Problem>) {
        for (at, named) in self.0.iter().enumerate() {
            let Some(token) = &named.keys.token else { continue };
            let is_same = |other: &NamedToken| {
                other.keys.token.as_ref().is_some_and(|other| other.value == token.value)
            };
            let other = self.0[..at].iter().find(|other| is_same(other)).map(|other| other.name.as_str());
            let other = other.or(master.filter(|master| master.value == token.value).map(|_| "admin.token"));
            if let Some(other) = other {
                let message = format!("the token `{}` is the same as `{other}`", named.name);
                problems.push(Problem::at(named.place, message).hint("give each a token of its own"));
            }
        }
    }
}
