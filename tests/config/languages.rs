//! `languages:` as it is written, inherited and refused.

use larder::policy::Languages;

use crate::{bad, good};

fn listed(tags: &[&str]) -> Languages {
    Languages::Listed(tags.iter().map(|tag| Box::from(*tag)).collect())
}

fn of_route(languages: &str) -> Languages {
    good(&format!("routes: {{ /a: {{ languages: {languages} }} }}\n")).routes.remove(0).rule.languages
}

#[test]
fn languages_are_a_word_or_tags_in_their_order() {
    assert_eq!(of_route("in-order"), Languages::InOrder);
    assert_eq!(of_route("any-order"), Languages::AnyOrder);
    for written in ["en de-AT no", "[en, de-AT, no]", "[en, \"de-AT\", 'no']"] {
        assert_eq!(of_route(written), listed(&["en", "de-AT", "no"]), "Norwegian is no switch: {written}");
    }
}

#[test]
fn a_route_beats_defaults_and_what_no_route_matches_inherits_them() {
    let config = good("defaults: { languages: any-order }\nroutes: { /a: { languages: en }, /b: 1h }\n");
    let routes: Vec<_> = config.routes.iter().map(|route| route.rule.languages.clone()).collect();
    assert_eq!(routes, [listed(&["en"]), Languages::AnyOrder]);
    assert_eq!(config.unmatched.unwrap().rule.languages, Languages::AnyOrder);
    assert_eq!(good("routes: { /a: 1h }\n").routes[0].rule.languages, Languages::InOrder);
}

#[test]
fn each_setting_has_entries_of_its_own() {
    let digest = |languages: &str| {
        good(&format!("routes: {{ /a: {{ languages: {languages} }} }}\n")).routes.remove(0).digest
    };
    let mut digests: Vec<_> = ["in-order", "any-order", "en", "en de", "de en"].map(digest).into();
    digests.push(good("routes: { /a: {} }\n").routes.remove(0).digest);
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 5, "the default is in-order");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (written, words) in [
        ("en_US", "write tags with hyphens"),
        ("en, de", "is not a language"),
        ("\"*\"", "is not a language"),
        ("any_order", "is not a language"),
        ("en any-order", "write it alone"),
        ("in-order any-order", "write it alone"),
        ("en de EN", "`EN` twice"),
        ("a b c d e f g h i j k l m n o p q", "at most 16"),
        ("[]", "is empty"),
        ("{ en: de }", "languages"),
    ] {
        let report = bad(&format!("routes:\n  /a:\n    languages: {written}\n"));
        assert!(report.contains(words) && report.contains("larder.yaml:4:"), "{written}\n{report}");
    }
}
