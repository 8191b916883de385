//! The page, with its numbers in it: what is seen before a script runs, and without one.

use serde_json::Value;

use crate::admin::Sources;
use crate::admin::dashboard::markup::Markup;
use crate::admin::dashboard::{panels, shadow, standing};

/// Everything that is the same each time, with `{{name}}` where something is put in.
const FRAME: &str = include_str!("page.html");
/// Comes again by itself where no script runs; not where the browser would have to send the token again.
const AGAIN: &str = "<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>";

/// A page for somebody who may see it.
pub(super) struct Page<'a> {
    pub(super) figures: &'a Value,
    pub(super) sources: &'a Sources,
    pub(super) shown: Shown,
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// To everybody who comes to this listener.
    Open,
    /// To who showed a token.
    ToHolder,
}

impl Page<'_> {
    /// The page without numbers, with the form that asks for the token.
    pub(super) fn locked(refused: Option<&'static str>) -> String {
        framed(|name| match name {
            "access" => "locked".into(),
            "main" => "hidden".into(),
            "refused" => refused.unwrap_or_default().into(),
            _ => String::new(),
        })
    }

    /// The page with its numbers.
    pub(super) fn filled(&self) -> String {
        let Self { figures, sources, shown } = self;
        framed(|name| {
            let piece = match name {
                "access" => return if *shown == Shown::Open { "open" } else { "holder" }.into(),
                "again" if *shown == Shown::Open => return AGAIN.into(),
                "login" => return "hidden".into(),
                "node" => words(&[figures["node"].as_str().unwrap_or_default()]),
                "version" => words(&[figures["version"].as_str().unwrap_or_default()]),
                "sentence" => standing::sentence(figures),
                "chips" => standing::chips(figures),
                "notices" => standing::notices(figures),
                "shadow_hidden" => return if shadow::is_known(figures) { "" } else { "hidden" }.into(),
                "shadow_sentence" => shadow::sentence(figures),
                "shadow" => shadow::routes(figures),
                "windows" => panels::windows(sources, figures),
                "latency" => panels::latency(figures),
                "routes" => panels::routes(figures),
                "invalidations" => panels::invalidations(sources),
                "dependencies" => panels::dependencies(sources),
                "memory" => panels::memory(figures),
                "hottest" => panels::hottest(figures),
                "warm" => panels::warm(figures),
                "audit" => panels::audit(figures),
                "fleet" => panels::fleet(figures),
                _ => return String::new(),
            };
            piece.as_str().to_owned()
        })
    }
}

/// The frame, with what `piece` says for each name.
fn framed(piece: impl Fn(&str) -> String) -> String {
    let mut page = String::with_capacity(2 * FRAME.len());
    let mut rest = FRAME;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}").expect("every name in the frame ends");
        page.push_str(before);
        page.push_str(&piece(name));
        rest = behind;
    }
    page.push_str(rest);
    page
}

fn words(words: &[&str]) -> Markup {
    let mut markup = Markup::default();
    words.iter().for_each(|word| {
        markup.text(word);
    });
    markup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_page_holds_a_form_and_no_name_of_the_frame() {
        let page = Page::locked(Some("no"));
        assert!(!page.contains("{{") && page.contains("data-access=\"locked\"") && page.contains("<form"));
    }

    #[test]
    fn the_frame_has_no_style_or_script_of_its_own() {
        for banned in
            ["<style", "style=", "onclick", "onload", "javascript:", "<script>", "http://", "https://"]
        {
            let frame = FRAME.replace("http://www.w3.org/2000/svg", "");
            assert!(!frame.contains(banned), "{banned}");
        }
    }
}
