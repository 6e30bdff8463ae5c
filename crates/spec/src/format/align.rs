//! `=` and comments below each other.

/// One line in parts.
pub(super) struct Cells {
    pub(super) indent: usize,
    /// What stands before the `=` of an attribute, or all of the line.
    pub(super) head: String,
    /// From the `=` on.
    pub(super) tail: Option<String>,
    /// A comment behind.
    pub(super) comment: Option<String>,
    /// Whether the line is part of something longer, so that nothing is aligned across it.
    pub(super) breaks: bool,
}

/// Puts the lines together.
pub(super) fn join(lines: &[Cells]) -> String {
    let heads = widths(lines, |line| line.tail.is_some().then(|| width(&line.head)));
    let code: Vec<String> = lines.iter().zip(&heads).map(|(line, head)| line.code(*head)).collect();
    let codes = widths_of(lines, &code);
    let mut out = String::new();
    for ((line, code), column) in lines.iter().zip(&code).zip(codes) {
        out.push_str(code);
        if let Some(comment) = &line.comment {
            pad(&mut out, column.saturating_sub(width(code)) + 1);
            out.push_str(comment);
        }
        out.push('\n');
    }
    out
}

impl Cells {
    fn code(&self, head_width: usize) -> String {
        let mut out = String::new();
        if self.head.is_empty() && self.tail.is_none() {
            return out;
        }
        pad(&mut out, self.indent * 2);
        out.push_str(&self.head);
        if let Some(tail) = &self.tail {
            pad(&mut out, head_width.saturating_sub(width(&self.head)) + 1);
            out.push_str(tail);
        }
        out
    }
}

/// For each line the greatest width of the run that it is in: lines that follow each other, equally deep, and
/// have a width.
fn widths(lines: &[Cells], width_of: impl Fn(&Cells) -> Option<usize>) -> Vec<usize> {
    let own: Vec<_> = lines.iter().map(|line| width_of(line).filter(|_| !line.breaks)).collect();
    runs(lines, &own)
}

fn widths_of(lines: &[Cells], code: &[String]) -> Vec<usize> {
    let own =
        |(line, code): (&Cells, &String)| line.comment.as_ref().filter(|_| !line.breaks).map(|_| width(code));
    let own: Vec<_> = lines.iter().zip(code).map(own).collect();
    runs(lines, &own)
}

fn runs(lines: &[Cells], own: &[Option<usize>]) -> Vec<usize> {
    let mut out = vec![0; lines.len()];
    let mut start = 0;
    while start < lines.len() {
        let same = |at: &usize| own[*at].is_some() && lines[*at].indent == lines[start].indent;
        let end = (start..lines.len()).take_while(same).last().map_or(start + 1, |last| last + 1);
        let widest = own[start..end].iter().flatten().max().copied().unwrap_or(0);
        out[start..end].fill(widest);
        start = end;
    }
    out
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}
