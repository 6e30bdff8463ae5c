//! Expressions.

use crate::support::value_of;

fn gives(expression: &str, json: &str) {
    assert_eq!(value_of(expression).as_deref(), Ok(json), "{expression}");
}

fn fails(expression: &str, message: &str) {
    assert_eq!(value_of(expression), Err(message.to_owned()), "{expression}");
}

#[test]
fn arithmetic_comparison_and_logic() {
    gives("1 + 2 * 3", "7");
    gives("(1 + 2) * 3", "9");
    gives("7 / 2", "3.5");
    gives("8 / 2", "4");
    gives("-7 % 3", "-1");
    gives("1.5 + 1.5 == 3", "true");
    gives("9223372036854775807 + 1 > 9000000000000000000", "true");
    gives("!true || 1 < 2 && 2 >= 2", "true");
    gives("\"a\" == \"a\" ? \"yes\" : 1 / 0", "\"yes\"");
    gives("true || nothing", "true");
    gives("[1, { a = 2 }] == [1, { a = 2.0 }]", "true");
    fails("1 / 0", "division by zero");
    fails("\"a\" + \"b\"", "`+` needs numbers, not a string");
    fails("1 ? 2 : 3", "the condition before `?` must be true or false, not a number");
    fails("1e308 * 10", "the result of this calculation is too large");
}

#[test]
fn templates() {
    gives("\"a${1 + 1}b\"", "\"a2b\"");
    gives("\"${local.list}\"", "[\"a\",\"b\",\"c\"]");
    gives("\"x$${y}%%{z}\"", "\"x${y}%{z}\"");
    gives("\"%{ if true }yes%{ else }no%{ endif }\"", "\"yes\"");
    gives("\"%{ for k, v in local.people }${k}=${v};%{ endfor }\"", "\"al=1;bo=3;\"");
    gives("<<-EOT\n    one ${1}\n      two\n    EOT\n", "\"one 1\\n  two\\n\"");
    gives("<<EOT\n%{ for x in local.list ~}\n- ${x}\n%{ endfor ~}\nEOT\n", "\"- a\\n- b\\n- c\\n\"");
    fails("\"x${local.list}\"", "a list cannot stand inside of a text");
}

#[test]
fn collections() {
    gives("[for x in local.list : upper(x) if x != \"b\"]", "[\"A\",\"C\"]");
    gives("{ for i, x in local.list : x => i }", "{\"a\":0,\"b\":1,\"c\":2}");
    gives(
        "{ for x in [\"ab\", \"ac\", \"b\"] : length(x) => x... }",
        "{\"1\":[\"b\"],\"2\":[\"ab\",\"ac\"]}",
    );
    gives("[{ a = 1 }, { a = 2 }][*].a", "[1,2]");
    gives("[{ a = [1] }, { a = [2] }].*.a[0]", "[1]");
    gives("[{ a = [1] }, { a = [2] }][*].a[0]", "[1,2]");
    gives("{ (local.shout) = 1, \"b c\" : 2 }", "{\"HEY\":1,\"b c\":2}");
    gives("local.people[\"bo\"] + local.people.al", "4");
    gives("local.list[length(local.list) - 1]", "\"c\"");
    fails("local.list[3]", "the list has no item 3");
    fails("local.people.bob", "this object has no field `bob`");
    fails("{ for x in [1, 2] : \"same\" => x }", "this `for` makes the key `same` twice");
}

#[test]
fn functions_on_texts() {
    gives("format(\"%s-%03d|%-4s|%5.2f|%v|%%\", \"a\", 7, \"x\", 1.005, [1])", "\"a-007|x   | 1.00|[1]|%\"");
    gives("join(\", \", local.list)", "\"a, b, c\"");
    gives("split(\",\", \"a,b,\")", "[\"a\",\"b\",\"\"]");
    gives("[lower(\"ÄB\"), upper(\"ä\"), trimspace(\" x \")]", "[\"äb\",\"Ä\",\"x\"]");
    gives("replace(\"a.b.c\", \".\", \"-\")", "\"a-b-c\"");
    gives("[startswith(\"abc\", \"ab\"), endswith(\"abc\", \"ab\")]", "[true,false]");
    gives("tostring(1.5)", "\"1.5\"");
    gives("base64encode(\"héllo\")", "\"aMOpbGxv\"");
    gives("sha256(\"\")", "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"");
    fails("format(\"%s %s\", 1)", "`%s` has no argument to show");
    fails("format(\"%x\", 1)", "the format has an unknown verb `%x`");
    fails("upper(1)", "argument 1 must be a string, not a number");
}

#[test]
fn functions_on_collections_and_numbers() {
    gives("concat([1], [], [2, 3])", "[1,2,3]");
    gives("merge({ a = 1, b = 1 }, { b = 2 })", "{\"a\":1,\"b\":2}");
    gives("[length(\"äb\"), length([1]), length({})]", "[2,1,0]");
    gives("[keys(local.people), values(local.people)]", "[[\"al\",\"bo\"],[1,3]]");
    gives("[contains(local.list, \"a\"), contains(local.list, 1)]", "[true,false]");
    gives("lookup(local.people, \"cy\", 9)", "9");
    gives("coalesce(null, \"\", \"x\")", "\"x\"");
    gives("flatten([1, [2, [3]], []])", "[1,2,3]");
    gives("distinct([2, 1, 2, \"2\"])", "[2,1,\"2\"]");
    gives("sort([\"b\", \"a\"])", "[\"a\",\"b\"]");
    gives("[range(3), range(1, 3), range(3, 0, -2)]", "[[0,1,2],[1,2],[3,1]]");
    gives("[min(3, 1, 2), max([3, 1]...)]", "[1,3]");
    gives("tonumber(\"8080\")", "8080");
    gives("jsondecode(\"{\\\"a\\\": [1, null]}\").a", "[1,null]");
    gives("env(\"HOME_TOWN\")", "\"Ghent\"");
    gives("env(\"NOT_SET\", \"x\")", "\"x\"");
    fails("env(\"NOT_SET\")", "the environment has no variable `NOT_SET`");
    fails("range(1000000)", "the list would have more than 100000 items");
    fails("max()", "`max` takes at least 1 argument, not 0");
    fails("nosuch(1)", "there is no function `nosuch`");
}
