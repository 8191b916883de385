//! Names of things: the words of an identifier, one of many, and the noun that a schema's name is about.
//!
//! Everything here is a guess about English in identifiers; a wrong one makes two names where one was meant.

/// Plurals that no rule makes.
const IRREGULAR: [(&str, &str); 30] = [
    ("people", "person"),
    ("children", "child"),
    ("men", "man"),
    ("women", "woman"),
    ("mice", "mouse"),
    ("geese", "goose"),
    ("teeth", "tooth"),
    ("feet", "foot"),
    ("criteria", "criterion"),
    ("phenomena", "phenomenon"),
    ("analyses", "analysis"),
    ("diagnoses", "diagnosis"),
    ("theses", "thesis"),
    ("crises", "crisis"),
    ("indices", "index"),
    ("matrices", "matrix"),
    ("vertices", "vertex"),
    ("appendices", "appendix"),
    ("movies", "movie"),
    ("cookies", "cookie"),
    ("series", "series"),
    ("species", "species"),
    ("news", "news"),
    ("caches", "cache"),
    ("shoes", "shoe"),
    ("leaves", "leaf"),
    ("shelves", "shelf"),
    ("lives", "life"),
    ("knives", "knife"),
    ("wolves", "wolf"),
];

/// What a schema's name says beside the thing itself.
const OF_SCHEMAS: [&str; 43] = [
    "read",
    "out",
    "output",
    "public",
    "response",
    "resp",
    "detail",
    "details",
    "detailed",
    "base",
    "schema",
    "model",
    "dto",
    "view",
    "full",
    "info",
    "in",
    "input",
    "create",
    "created",
    "update",
    "updated",
    "list",
    "page",
    "paginated",
    "result",
    "results",
    "brief",
    "mini",
    "short",
    "ref",
    "reference",
    "embedded",
    "api",
    "payload",
    "data",
    "collection",
    "envelope",
    "wrapper",
    "summary",
    "nested",
    "entity",
    "some",
];

/// The words of `projectId`, `project_id`, `project-id`, `HTTPServer`; lower case.
pub(crate) fn tokens(name: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let chars: Vec<char> = name.chars().take(200).collect();
    for (at, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            tokens.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let begins = c.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase() || before.is_numeric())
                || chars.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if begins || tokens.is_empty() {
            tokens.push(String::new());
        }
        if let Some(last) = tokens.last_mut() {
            last.extend(c.to_lowercase());
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// The words with hyphens between them: `line-items`.
pub(crate) fn slug(name: &str) -> String {
    tokens(name).join("-")
}

/// One of them: `project` of `projects`, `line-item` of `lineItems`.
pub(crate) fn singular(name: &str) -> String {
    let mut tokens = tokens(name);
    if let Some(last) = tokens.last_mut() {
        *last = one(last);
    }
    tokens.join("-")
}

/// Whether a name stands for many.
pub(crate) fn is_plural(name: &str) -> bool {
    singular(name) != slug(name)
}

fn one(word: &str) -> String {
    if let Some((_, one)) = IRREGULAR.iter().find(|(many, _)| *many == word) {
        return (*one).to_owned();
    }
    let cut = |count: usize| word[..word.len() - count].to_owned();
    if word.len() > 4 && word.ends_with("ies") {
        return cut(3) + "y";
    }
    if ["sses", "xes", "ches", "shes", "zzes", "uses", "oes"].iter().any(|end| word.ends_with(end))
        && !["houses", "causes", "clauses", "pauses", "uses"].contains(&word)
    {
        return cut(2);
    }
    let keeps = ["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if word.len() > 2 && word.ends_with('s') && !keeps { cut(1) } else { word.to_owned() }
}

/// What the name of a schema may be about, the most exact noun first: `project-read`, `project` of `ProjectRead`; `Page_ProjectOut_`,
/// `app__models__Project` and `ProjectWithTasks` come to `project` too.
pub(crate) fn of_schema(name: &str) -> Vec<String> {
    let name = name.rsplit("__").find(|part| !part.is_empty()).unwrap_or(name);
    let mut tokens = tokens(name);
    let mut nouns = vec![singular(&tokens.join("-"))];
    if let Some(with) = tokens.iter().position(|token| token == "with").filter(|at| *at > 0) {
        tokens.truncate(with);
    }
    loop {
        nouns.push(singular(&tokens.join("-")));
        let is_list_item = tokens.len() > 2 && tokens.ends_with(&["list".to_owned(), "item".to_owned()]);
        let is_beside =
            |token: Option<&String>| token.is_some_and(|token| OF_SCHEMAS.contains(&token.as_str()));
        if is_list_item {
            tokens.truncate(tokens.len() - 2);
        } else if tokens.len() > 1 && is_beside(tokens.last()) {
            tokens.pop();
        } else if tokens.len() > 1 && is_beside(tokens.first()) {
            tokens.remove(0);
        } else {
            break;
        }
    }
    nouns.dedup();
    nouns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_made_of_many() {
        for (many, one) in [
            ("projects", "project"),
            ("categories", "category"),
            ("addresses", "address"),
            ("statuses", "status"),
            ("boxes", "box"),
            ("people", "person"),
            ("lineItems", "line-item"),
            ("courses", "course"),
            ("analyses", "analysis"),
            ("status", "status"),
            ("series", "series"),
            ("batches", "batch"),
            ("Straßen", "straßen"),
        ] {
            assert_eq!(singular(many), one, "{many}");
        }
        assert!(is_plural("time-slots") && !is_plural("export") && !is_plural("status"));
    }

    #[test]
    fn a_schemas_name_is_about_a_noun() {
        for (name, noun) in [
            ("ProjectRead", "project"),
            ("Page_ProjectOut_", "project"),
            ("app__models__Project", "project"),
            ("ProjectWithTasks", "project"),
            ("ItemsPublic", "item"),
            ("ItemPublic", "item"),
            ("Item", "item"),
            ("LineItem", "line-item"),
            ("ProjectListItem", "project"),
            ("PaginatedResponse_UserBrief_", "user"),
            ("HTTPValidationError", "http-validation-error"),
        ] {
            assert_eq!(of_schema(name).last().unwrap(), noun, "{name}");
        }
    }
}
