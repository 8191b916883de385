//! HTML that is made here: our own words as they are, everything else as text.
//!
//! Invariant: what is not written in this program never opens a tag, nor ends an attribute. Pure.

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

/// What stands in a place of a table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// A path, a tag, a key.
    Code(String),
    /// Aligned with the others of its column.
    Number(String),
    /// A share from 0 to 1, drawn and in words.
    Share(Option<f64>, String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl Markup {
    /// Words of this program.
    pub(super) fn raw(&mut self, own: &'static str) -> &mut Self {
        self.0.push_str(own);
        self
    }

    /// Anybody's.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c if c.is_control() && c != '\n' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A table with a caption for those who do not see it, and a head to every column.
    pub(super) fn table(&mut self, caption: &str, heads: &[&str], rows: &[Vec<Cell>]) -> &mut Self {
        self.raw("<table><caption>").text(caption).raw("</caption><thead><tr>");
        for (at, head) in heads.iter().enumerate() {
            let is_number =
                rows.first().and_then(|row| row.get(at)).is_some_and(|cell| matches!(cell, Cell::Number(_)));
            self.raw(if is_number { "<th scope=col class=number>" } else { "<th scope=col>" });
            self.text(head).raw("</th>");
        }
        self.raw("</tr></thead><tbody>");
        for row in rows {
            self.raw("<tr>");
            row.iter().for_each(|cell| self.cell(cell));
            self.raw("</tr>");
        }
        self.raw("</tbody></table>")
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Text(text) => self.raw("<td>").text(text),
            Cell::Code(text) => self.raw("<td><code>").text(text).raw("</code>"),
            Cell::Number(text) => self.raw("<td class=number>").text(text),
            Cell::Share(share, text) => {
                self.raw("<td class=share>");
                if let Some(share) = share {
                    self.raw("<meter aria-hidden=true value=\"")
                        .text(&format!("{share:.4}"))
                        .raw("\"></meter>");
                }
                self.raw("<span>").text(text).raw("</span>")
            }
        };
        self.raw("</td>");
    }

    /// All of it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A table, or that there is nothing to put into it.
pub(super) fn listed(
    caption: &'static str,
    heads: &[&str],
    rows: &[Vec<Cell>],
    empty: &'static str,
) -> Markup {
    let mut markup = Markup::default();
    match rows.is_empty() {
        true => markup.raw("<p class=empty>").raw(empty).raw("</p>"),
        false => markup.table(caption, heads, rows),
    };
    markup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_text_becomes_markup() {
        let evil = "</td><script>alert('1')</script>\" onload=\"x&\u{0}";
        let mut markup = Markup::default();
        let cells = vec![
            Cell::text(evil),
            Cell::Code(evil.into()),
            Cell::Number(evil.into()),
            Cell::Share(Some(0.5), evil.into()),
        ];
        markup.table(evil, &[evil; 4], &[cells]);
        let text = markup.as_str();
        assert!(
            !text.contains("<script") && !text.contains("onload=\"") && !text.contains('\u{0}'),
            "{text}"
        );
        assert_eq!(text.matches("&lt;script&gt;").count(), 9);
    }
}
