//! Tags as the file writes them: templates, and what a JSON body is searched for.

use serde_json_path::JsonPath;

use crate::config::shape::{Refusal, Scalar};
use crate::route::BodyTag;
use crate::route::tag::Text;

impl Scalar for Text {
    const WHAT: &'static str = "a tag";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let hint = "write e.g. project:{id}";
        if text.starts_with('/') {
            let message = format!("`{text}` is a path: every answer is tagged with its own");
            return Err(Refusal::new(message, "leave it out, and invalidate the path"));
        }
        Self::parse(text).map_err(|flaw| Refusal::new(format!("`{text}` is not a tag: {flaw}"), hint))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Scalar for BodyTag {
    const WHAT: &'static str = "a tag out of the body";

    fn parse(text: &str) -> Result<Self, Refusal> {
        const HINT: &str = "write e.g. project:$.items[*].id, quoted where it stands in a list";
        let Some(at) = text.find('$') else {
            return Err(Refusal::new(format!("`{text}` has no JSONPath, which begins with `$`"), HINT));
        };
        let (prefix, path) = text.split_at(at);
        let prefix = match prefix {
            "" => None,
            prefix => Some(<Text as Scalar>::parse(prefix)?),
        };
        let path = <JsonPath as Scalar>::parse(path)?;
        Ok(Self { prefix, path })
    }

    fn show(&self) -> String {
        let prefix = self.prefix.as_ref().map(Text::to_string).unwrap_or_default();
        format!("{prefix}{}", self.path)
    }
}
