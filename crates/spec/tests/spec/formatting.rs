//! The canonical form.

use kiln_spec::format;

fn becomes(before: &str, after: &str) {
    let once = format(before).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(once, after);
    assert_eq!(format(&once).unwrap(), once, "not idempotent");
}

#[test]
fn equals_signs_and_comments_stand_below_each_other() {
    becomes(
        "image \"web\"   {\nbase=scratch # one\n  entrypoint   =   [ \"a\" ,\"b\" ]   // two\n\n\n\n x=1\n}",
        "image \"web\" {\n  base       = scratch    # one\n  entrypoint = [\"a\", \"b\"] // two\n\n  x = 1\n}\n",
    );
}

#[test]
fn brackets_decide_the_depth() {
    becomes(
        "a = [{\nx = 1\n}, {\nlong = 2\ny = merge({\nz = 3\n}, local.b)\n}]\n",
        "a = [{\n  x = 1\n}, {\n  long = 2\n  y = merge({\n    z = 3\n  }, local.b)\n}]\n",
    );
}

#[test]
fn operators_get_space_and_signs_do_not() {
    becomes(
        "a=-1+ -2*(3-x.y[0])\nb = !c&&d||e ?f:g\nc=[for  k,v in m:\"${k}\"if v!=1]\nd={for x in [1]:x=>x...}\ne = a.*.b\nf=a[*].b\ng=f(x...)\nh={}\n",
        "a = -1 + -2 * (3 - x.y[0])\nb = !c && d || e ? f : g\nc = [for k, v in m : \"${k}\" if v != 1]\nd = { for x in [1] : x => x... }\ne = a.*.b\nf = a[*].b\ng = f(x...)\nh = {}\n",
    );
}

#[test]
fn heredocs_comments_and_line_breaks_are_kept() {
    becomes(
        "\n\n# top\r\na {\r\n\r\n b = <<-EOT\n   x  =  1\n\n\n EOT\n /* two\n   lines */ c=1\n # last\n\n}\n\n\n",
        "# top\na {\n  b = <<-EOT\n   x  =  1\n\n\n EOT\n  /* two\n   lines */ c = 1\n  # last\n}\n",
    );
    becomes("", "");
    becomes("# only", "# only\n");
}

#[test]
fn what_is_not_hcl_is_an_error() {
    let errors = format("a = [1,\n").unwrap_err().render(false);
    assert!(errors.contains("kiln.hcl:1:5"), "{errors}");
}
