//! Reading single commands out of maintainer scripts, as far as they are written out plainly. Nothing is evaluated:
//! a command with a variable, a substitution or a glob in its words is not plain.

/// The plain commands of a script that run `program`: their words, without the program itself.
pub(super) fn commands(script: &str, program: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| line.contains(program) && !line.trim_start().starts_with('#'))
        .flat_map(simple_commands)
        .filter_map(|words| {
            let at = words.iter().position(|word| {
                let word = word.text.as_str();
                word == program || word.rsplit('/').next() == Some(program)
            })?;
            let before = words[..at].iter().all(|word| {
                matches!(
                    word.text.as_str(),
                    "if" | "then" | "else" | "elif" | "do" | "!" | "{" | "(" | "command" | "exec"
                )
            });
            let plain = words[at + 1..].iter().all(|word| word.plain);
            (before && plain).then(|| words[at + 1..].iter().map(|word| word.text.clone()).collect())
        })
        .collect()
}

struct Word {
    text: String,
    plain: bool,
}

/// The simple commands of a line, redirections left out.
fn simple_commands(line: &str) -> Vec<Vec<Word>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<Word> = None;
    let mut redirected = false;
    let mut characters = line.chars().peekable();
    let end = |word: &mut Option<Word>, redirected: &mut bool, commands: &mut Vec<Vec<Word>>| {
        if let Some(word) = word.take() {
            match std::mem::take(redirected) {
                true => {}
                false => commands.last_mut().map_or((), |command| command.push(word)),
            }
        }
    };
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' => end(&mut word, &mut redirected, &mut commands),
            '#' if word.is_none() => break,
            ';' | '&' | '|' => {
                end(&mut word, &mut redirected, &mut commands);
                commands.push(Vec::new());
            }
            '>' | '<' => {
                // A number before it is a descriptor, `&` and a number after it another.
                if word.as_ref().is_some_and(|word| word.text.parse::<u32>().is_ok()) {
                    word = None;
                }
                end(&mut word, &mut redirected, &mut commands);
                while characters.next_if(|c| matches!(c, '>' | '<' | '&')).is_some() {}
                redirected = true;
            }
            c => {
                let word = word.get_or_insert_with(|| Word { text: String::new(), plain: true });
                push(word, c, &mut characters);
            }
        }
    }
    end(&mut word, &mut redirected, &mut commands);
    commands
}

/// Takes one character, or what it quotes, into a word.
fn push(word: &mut Word, c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match c {
        '\'' | '"' => {
            let mut closed = false;
            while let Some(inner) = rest.next() {
                match inner {
                    inner if inner == c => {
                        closed = true;
                        break;
                    }
                    '\\' if c == '"' => word.text.extend(rest.next()),
                    '$' | '`' if c == '"' => word.plain = false,
                    inner => word.text.push(inner),
                }
            }
            // The quotation goes on in the next line.
            word.plain &= closed;
        }
        '\\' => word.text.extend(rest.next()),
        '$' | '`' | '*' | '?' | '[' => word.plain = false,
        c => word.text.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_plain_commands_where_scripts_have_them() {
        let script = "\
# adduser --system nobody
if ! getent passwd x; then
    adduser --system --group --gecos \"The X 'one'\" \\
        --home /var/lib/x x >/dev/null 2>&1 || true
fi
if ! adduser --quiet y; then exit 1; fi
adduser --system $USER
echo run adduser z
/usr/sbin/adduser a b;adduser c d
";
        let words = commands(script, "adduser");
        let shown: Vec<String> = words.iter().map(|words| words.join("|")).collect();
        assert_eq!(
            shown,
            ["--system|--group|--gecos|The X 'one'|--home|/var/lib/x|x", "--quiet|y", "a|b", "c|d"]
        );
    }
}
