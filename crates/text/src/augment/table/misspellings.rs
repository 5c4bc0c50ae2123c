//! Lists of misspellings as they are found: `wrong->right`, CSV and TSV.

use super::Table;

/// Why a list cannot be read: the line, from 1, and what is wrong with it.
pub(crate) type Wrong = (usize, String);

/// Reads a list as a table from what is right to what is wrong.
///
/// Two forms. Lines `wrong->right`, where several right words are separated by commas, with empty lines
/// and lines that begin with `#` passed over. Or comma- or tab-separated columns, whose head names
/// `wrong` and `right` in either order; columns of other names are passed over.
pub(crate) fn misspellings(text: &str) -> Result<Table, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut table = Table::default();
    let Some((first, head)) = lines.clone().next() else {
        return Ok(table);
    };
    if head.contains("->") {
        for (line, text) in lines {
            arrow(&mut table, text).ok_or_else(|| (line, arrow_wrong(text)))?;
        }
        return Ok(table);
    }
    let separator = if head.contains('\t') { '\t' } else { ',' };
    let columns = cells(head, separator);
    let column = |name: &str| {
        columns
            .iter()
            .position(|cell| cell.eq_ignore_ascii_case(name))
    };
    let (Some(wrong), Some(right)) = (column("wrong"), column("right")) else {
        return Err((first, head_wrong(head)));
    };
    for (line, text) in lines.skip(1) {
        let cells = cells(text, separator);
        match (cells.get(wrong), cells.get(right)) {
            (Some(wrong), Some(right)) if !right.is_empty() => table.add(right, wrong),
            _ => {
                return Err((
                    line,
                    format!("`{text}` has not the columns that the head names"),
                ));
            }
        }
    }
    Ok(table)
}

fn arrow(table: &mut Table, line: &str) -> Option<()> {
    let (wrong, right) = line.split_once("->")?;
    let wrong = wrong.trim();
    let mut rights = right
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty());
    let first = rights.next().filter(|_| !wrong.is_empty())?;
    for right in std::iter::once(first).chain(rights) {
        table.add(right, wrong);
    }
    Some(())
}

fn arrow_wrong(line: &str) -> String {
    format!("`{line}` is not of the form wrong->right, such as teh->the")
}

fn head_wrong(head: &str) -> String {
    format!(
        "`{head}` says not which column is which; write lines wrong->right, or begin with a line that names \
         the columns, such as wrong,right"
    )
}

/// The cells of a line; one in quotes may hold the separator, and `""` for a quote.
fn cells(line: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                push(&mut cells, '"');
            }
            '"' => quoted = !quoted,
            c if c == separator && !quoted => cells.push(String::new()),
            c => push(&mut cells, c),
        }
    }
    for cell in &mut cells {
        *cell = cell.trim().to_owned();
    }
    cells
}

fn push(cells: &mut [String], c: char) {
    if let Some(cell) = cells.last_mut() {
        cell.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a user's list would be read the wrong way round, and correct what it should misspell.
    #[test]
    fn lists_are_read_from_right_to_wrong() {
        let cases = [
            (
                "arrows",
                "# common\nteh->the\nthier->their, there\n\nalot->a lot\n",
            ),
            (
                "head",
                "wrong,right\nteh,the\nthier,their\nthier,there\nalot,a lot",
            ),
            (
                "other order",
                "right\tnote\twrong\nthe\t\tteh\ntheir\t\tthier\nthere\t\tthier\na lot\t\talot",
            ),
            (
                "quotes",
                "Wrong,Right\r\n\"teh\",\"the\"\r\nthier,their\r\nthier,there\r\nalot,\"a lot\"\r\n",
            ),
        ];
        let mut expected = Table::default();
        for (right, wrong) in [
            ("the", "teh"),
            ("their", "thier"),
            ("there", "thier"),
            ("a lot", "alot"),
        ] {
            expected.add(right, wrong);
        }
        let mut table = testing::CaseTable::new("forms of lists");
        for (name, text) in cases {
            table.equal(name, &misspellings(text), &Ok(expected.clone()));
        }
        table.finish();
    }

    /// Without it a list whose direction nobody knows would be guessed at.
    #[test]
    fn lists_that_are_not_understood_are_refused_by_line() {
        let cases = [
            ("teh,the\n", 1),
            ("teh->the\nthier\n", 2),
            ("wrong,right\n\nteh\n", 3),
            ("->the", 1),
        ];
        let mut table = testing::CaseTable::new("lists that are refused");
        for (text, line) in cases {
            table.equal(
                text,
                &misspellings(text).map_err(|(line, _)| line),
                &Err(line),
            );
        }
        table.finish();
    }
}
