//! Secrets that are valid in form and open nothing, put together when a test runs, so that none stands in this file.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub(crate) const ALNUM: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub(crate) const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub(crate) const LOWER: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
pub(crate) const UPPER: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub(crate) const HEX: &str = "0123456789abcdef";
pub(crate) const DIGITS: &str = "0123456789";
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Numbers that only the seed decides (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn of(&mut self, alphabet: &str, length: usize) -> String {
        let letters = alphabet.as_bytes();
        (0..length).map(|_| char::from(letters[(self.next() % letters.len() as u64) as usize])).collect()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A password as machines make them, with characters of every kind.
    pub(crate) fn password(&mut self) -> String {
        let mut password = String::new();
        // No character twice: rules by name ask for entropy, which chance alone does not promise.
        for alphabet in [&LETTERS[26..], &LETTERS[..26], "23456789"].iter().cycle().take(18) {
            let left: String = alphabet.chars().filter(|c| !password.contains(*c)).collect();
            password += &self.of(&left, 1);
        }
        password
    }
}

/// One secret: the rule that must find it, what must never be told, and the text that it stands in.
pub(crate) struct Sample {
    pub(crate) rule: &'static str,
    pub(crate) secret: String,
    pub(crate) text: String,
    /// A text that differs in little and holds no secret.
    pub(crate) miss: String,
    /// The name of the file, where that matters.
    pub(crate) path: &'static str,
}

/// The first letters, the alphabet and the length of simple tokens.
const TOKENS: &[(&str, &str, &str, usize)] = &[
    ("gitlab-token", "glpat-", ALNUM, 20),
    ("gitlab-runner-token", "glrt-", ALNUM, 20),
    ("digitalocean-token", "dop_v1_", HEX, 64),
    ("stripe-live-key", "sk_live_", ALNUM, 24),
    ("stripe-test-key", "sk_test_", ALNUM, 24),
    ("google-api-key", "AIza", ALNUM, 35),
    ("google-oauth-secret", "GOCSPX-", ALNUM, 28),
    ("google-access-token", "ya29.", ALNUM, 120),
    ("vault-token", "hvs.", ALNUM, 90),
    ("shopify-token", "shpat_", HEX, 32),
    ("databricks-token", "dapi", HEX, 32),
    ("hugging-face-token", "hf_", LETTERS, 34),
    ("xai-key", "xai-", ALNUM, 80),
    ("perplexity-key", "pplx-", ALNUM, 48),
    ("replicate-token", "r8_", ALNUM, 37),
    ("doppler-token", "dp.pt.", ALNUM, 43),
    ("linear-key", "lin_api_", ALNUM, 40),
    ("notion-token", "ntn_", ALNUM, 46),
    ("planetscale-token", "pscale_tkn_", ALNUM, 43),
    ("new-relic-key", "NRAK-", UPPER, 27),
    ("buildkite-token", "bkua_", HEX, 40),
    ("supabase-token", "sbp_", HEX, 40),
    ("tailscale-key", "tskey-auth-", ALNUM, 40),
    ("heroku-key", "HRKU-AA", ALNUM, 58),
    ("docker-hub-token", "dckr_pat_", ALNUM, 27),
    ("crates-io-token", "cio", ALNUM, 32),
    ("rubygems-key", "rubygems_", HEX, 48),
    ("nuget-key", "oy2", LOWER, 43),
    ("clojars-token", "CLOJARS_", ALNUM, 60),
    ("sentry-token", "sntryu_", HEX, 64),
    ("pulumi-token", "pul-", HEX, 40),
    ("netlify-token", "nfp_", ALNUM, 40),
    ("shippo-token", "shippo_live_", HEX, 40),
    ("square-token", "sq0atp-", ALNUM, 22),
    ("fly-token", "fm2_", ALNUM, 120),
    ("slack-app-token", "xapp-1-", ALNUM, 90),
    ("alibaba-key-id", "LTAI5t", ALNUM, 18),
    ("figma-token", "figd_", ALNUM, 40),
    ("easypost-key", "EZAK", ALNUM, 54),
    ("typeform-token", "tfp_", ALNUM, 59),
];

pub(crate) fn crc62(body: &str) -> String {
    let mut sum = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(ALNUM.as_bytes()[sum % 62]);
        sum /= 62;
    }
    digits.reverse();
    String::from_utf8(digits).unwrap()
}

fn bech32(prefix: &str, dice: &mut Dice) -> String {
    let step = |sum: u32, value: u32| {
        let top = sum >> 25;
        let next = ((sum & 0x01ff_ffff) << 5) ^ value;
        [0x3b6a_57b2_u32, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
            .iter()
            .enumerate()
            .fold(next, |sum, (bit, part)| if (top >> bit) & 1 == 1 { sum ^ part } else { sum })
    };
    let data = dice.of(BECH32, 52);
    let high = prefix.bytes().map(|b| u32::from(b >> 5));
    let low = prefix.bytes().map(|b| u32::from(b & 31));
    let values = data.chars().map(|c| BECH32.find(c).unwrap() as u32);
    let sum = high.chain([0]).chain(low).chain(values).chain([0; 6]).fold(1, step) ^ 1;
    let check: String =
        (0..6).map(|i| char::from(BECH32.as_bytes()[((sum >> (5 * (5 - i))) & 31) as usize])).collect();
    format!("{prefix}1{data}{check}").to_uppercase()
}

/// The last character is another one.
pub(crate) fn spoiled(text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let last = letters.last_mut().unwrap();
    *last = if *last == 'q' { 'p' } else { 'q' };
    letters.into_iter().collect()
}

fn armour(label: &str, body: &[u8]) -> String {
    let text = STANDARD.encode(body);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", lines.join("\n"))
}

fn der(dice: &mut Dice, length: u16) -> Vec<u8> {
    let mut body = vec![0x30, 0x82];
    body.extend(length.to_be_bytes());
    body.extend(dice.bytes(length.into()));
    body
}

pub(crate) fn private_key(dice: &mut Dice) -> String {
    let body = der(dice, 600);
    armour("RSA PRIVATE KEY", &body)
}

fn plain(rule: &'static str, secret: String, miss: &str) -> Sample {
    Sample {
        rule,
        text: format!("key = \"{secret}\"\n"),
        miss: format!("key = \"{miss}\"\n"),
        secret,
        path: "app/a.conf",
    }
}

/// A secret of every rule, from the numbers of a seed.
pub(crate) fn all(seed: u64) -> Vec<Sample> {
    let dice = &mut Dice(seed);
    let mut samples: Vec<Sample> = TOKENS
        .iter()
        .map(|(rule, prefix, alphabet, length)| {
            let body = dice.of(alphabet, *length);
            let miss = format!("{prefix}{}", &body[..8.min(body.len())]);
            plain(rule, format!("{prefix}{body}"), &miss)
        })
        .collect();
    samples.extend(with_checksums(dice));
    samples.extend(with_structure(dice));
    samples.extend(keys(dice));
    samples.extend(in_formats(dice));
    samples
}

fn with_checksums(dice: &mut Dice) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (rule, prefix) in [("github-token", "ghp_"), ("npm-token", "npm_")] {
        let body = dice.of(ALNUM, 30);
        let token = format!("{prefix}{body}{}", crc62(&body));
        samples.push(plain(rule, token.clone(), &spoiled(&token)));
    }
    let age = bech32("age-secret-key-", dice);
    samples.push(plain("age-secret-key", age.clone(), &format!("{}QP", &age[..age.len() - 2])));
    let body = format!("{}{}", "ATATT3xFfGF0", dice.of(ALNUM, 170));
    let sum = crc32fast::hash(body.as_bytes());
    samples.push(plain("atlassian-token", format!("{body}={sum:08X}"), &body[..60]));
    let mut macaroon = b"\x02\x01\x08pypi\x2eorg\x02".to_vec();
    macaroon.push(36);
    macaroon.extend(dice.of(HEX, 36).bytes());
    macaroon.extend([0, 0, 6, 32]);
    macaroon.extend(dice.bytes(32));
    let token = format!("pypi-{}", URL_SAFE_NO_PAD.encode(&macaroon));
    let cut = format!("pypi-{}", URL_SAFE_NO_PAD.encode(&macaroon[..macaroon.len() - 3]));
    samples.push(plain("pypi-token", token, &cut));
    samples
}

fn with_structure(dice: &mut Dice) -> Vec<Sample> {
    let pair = |rule, secret: String, miss: String| plain(rule, secret, &miss);
    let a = dice.of(ALNUM, 22);
    let b = dice.of(ALNUM, 59);
    let mut samples =
        vec![pair("github-fine-grained-token", format!("github_pat_{a}_{b}"), format!("github_pat_{a}a{b}"))];
    samples.push(pair("sendgrid-key", format!("SG.{a}.{}", &b[..43]), format!("SG.{a}-{}", &b[..43])));
    let c = dice.of(ALNUM, 93);
    samples.push(pair("anthropic-key", format!("sk-ant-api03-{c}AA"), format!("sk-ant-api03-{c}AB")));
    let groq = format!("{}WGdyb3FY{}", dice.of(ALNUM, 20), dice.of(ALNUM, 24));
    samples.push(pair(
        "groq-key",
        format!("gsk_{groq}"),
        format!("gsk_{}", groq.replace("WGdyb3FY", "WGdyb3FX")),
    ));
    let (x, y) = (dice.of(HEX, 24), dice.of(HEX, 34));
    samples.push(pair("postman-key", format!("PMAK-{x}-{y}"), format!("PMAK-{x}a{y}")));
    let (x, y) = (dice.of(ALNUM, 32), dice.of(HEX, 8));
    samples.push(pair("grafana-token", format!("glsa_{x}_{y}"), format!("glsa_{x}a{y}")));
    let (x, y) = (dice.of(UPPER, 24), dice.of(UPPER, 64));
    samples.push(pair("dynatrace-token", format!("dt0c01.{x}.{y}"), format!("dt0c01.{x}")));
    let (x, y) = (dice.of(DIGITS, 12), dice.of(ALNUM, 24));
    samples.push(pair("slack-token", format!("xoxb-{x}-{x}-{y}"), format!("xoxb-{x}")));
    let (x, y) = (dice.of(ALNUM, 40), dice.of(ALNUM, 40));
    samples.push(pair("openai-key", format!("sk-proj-{x}T3BlbkFJ{y}"), format!("sk-proj-{x}T3BlbkFK{y}")));
    let (x, y) = (dice.of(ALNUM, 14), dice.of(ALNUM, 66));
    samples.push(pair("terraform-token", format!("{x}.atlasv1.{y}"), format!("{x}.atlasv2.{y}")));
    let (x, y) = (dice.of(DIGITS, 9), dice.of(ALNUM, 33));
    samples.push(pair("telegram-token", format!("1{x}:AA{y}"), format!("1{x}:AB{y}")));
    let (x, y) = (dice.of(ALNUM, 14), dice.of(HEX, 64));
    samples.push(pair("airtable-token", format!("pat{x}.{y}"), format!("pat{x}.{}", &y[..40])));
    let org = URL_SAFE_NO_PAD.encode(format!("{{\"iat\":1,\"org\":\"{}\"}}", dice.of(LOWER, 60)));
    samples.push(pair(
        "sentry-org-token",
        format!("sntrys_{org}_{}", dice.of(ALNUM, 43)),
        "sntrys_eyJabc".into(),
    ));
    let (x, y) = (dice.of(ALNUM, 3), dice.of(ALNUM, 33));
    samples.push(pair("azure-client-secret", format!("{x}8Q~{y}"), format!("{x}8Q~{}", &y[..20])));
    samples
}

fn keys(dice: &mut Dice) -> Vec<Sample> {
    let key = private_key(dice);
    let stub =
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA...\n-----END RSA PRIVATE KEY-----".to_owned();
    let kube = STANDARD.encode(private_key(dice));
    let id =
        format!("AKIA{}", dice.of("QRSTUVWXYZ234567", 1) + &dice.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 15));
    let secret = format!("{}aB3x", dice.of(ALNUM, 32)) + "Yz7w";
    vec![
        Sample {
            rule: "private-key",
            secret: key.lines().nth(3).unwrap().into(),
            text: format!("{key}\n"),
            miss: stub,
            path: "etc/ssl/a.key",
        },
        Sample {
            rule: "kubeconfig-client-key",
            text: format!("    client-key-data: {kube}\n"),
            miss: format!("    client-key-data: {}\n", STANDARD.encode(dice.bytes(300))),
            secret: kube,
            path: "root/.kube/config",
        },
        Sample {
            rule: "aws-access-key",
            text: format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n"),
            miss: format!("{}{}\n", &id[..19], "1"),
            secret,
            path: "root/.aws/credentials",
        },
    ]
}

fn in_formats(dice: &mut Dice) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |rule, secret: &str, text: String, miss: String, path| {
        samples.push(Sample { rule, secret: secret.into(), text, miss, path });
    };
    let s = dice.of(ALNUM, 24);
    add(
        "slack-webhook",
        &s,
        format!("https://hooks.slack.com/services/T0ABCDEF1/B0ABCDEF2/{s}\n"),
        "https://hooks.slack.com/services/\n".into(),
        "app/x.py",
    );
    let s = dice.of(ALNUM, 68);
    add(
        "discord-webhook",
        &s,
        format!("https://discord.com/api/webhooks/123456789012345678/{s}\n"),
        format!("https://discord.com/api/webhooks/1/{s}\n"),
        "app/x.py",
    );
    let id = URL_SAFE_NO_PAD.encode(format!("8{}", dice.of(DIGITS, 17)));
    let s = format!("{id}.{}.{}", dice.of(ALNUM, 6), dice.of(ALNUM, 38));
    add("discord-token", &s, format!("discord_bot = '{s}'\n"), format!("a_bot = '{s}'\n"), "app/x.py");
    let s = format!("SK{}", dice.of(HEX, 32));
    add("twilio-key", &s, format!("TWILIO_SID={s}\n"), format!("OTHER_SID={s}\n"), "app/x.py");
    let s = format!("key-{}", dice.of(HEX, 32));
    add("mailgun-key", &s, format!("mailgun: {s}\n"), format!("other: {s}\n"), "app/x.py");
    let h = dice.of(HEX, 30);
    let s = format!("{}-{}-4{}-8{}-{}", &h[..8], &h[8..12], &h[12..15], &h[15..18], &h[18..30]);
    add("heroku-legacy-key", &s, format!("HEROKU_API_KEY={s}\n"), format!("REQUEST={s}\n"), "app/x.py");
    let s = format!("s.{}", dice.of(ALNUM, 24));
    add("vault-legacy-token", &s, format!("VAULT_TOKEN={s}\n"), format!("NAME={s}\n"), "app/x.py");
    let s = STANDARD.encode(dice.bytes(64));
    add(
        "azure-storage-key",
        &s,
        format!("AccountName=a;AccountKey={s};\n"),
        format!("AccountName=a;Hash={s};\n"),
        "app/x.py",
    );
    let s = STANDARD.encode(dice.bytes(32)).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    add(
        "azure-sas",
        &s,
        format!("https://a.blob.core.windows.net/c?sv=2022-11-02&se=2027-01-01&sp=r&sig={s}\n"),
        format!("https://a.blob.core.windows.net/c?sig={s}\n"),
        "app/x.py",
    );
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let payload = format!("{{\"sub\":\"{}\"}}", dice.of(LOWER, 12));
    let s = format!(
        "{}.{}.{}",
        part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"),
        part(&payload),
        URL_SAFE_NO_PAD.encode(dice.bytes(32))
    );
    let no = format!(
        "{}.{}.{}",
        part("{\"alg\":\"none\",\"typ\":\"JWT\"}"),
        part(&payload),
        URL_SAFE_NO_PAD.encode(dice.bytes(32))
    );
    add("jwt", &s, format!("bearer {s}\n"), format!("bearer {no}\n"), "app/x.py");
    passwords(dice, &mut add);
    samples
}

fn passwords(dice: &mut Dice, add: &mut dyn FnMut(&'static str, &str, String, String, &'static str)) {
    let s = STANDARD.encode(format!("deploy:{}", dice.password()));
    let none = STANDARD.encode("user:password");
    add(
        "docker-auth",
        &s,
        format!("{{\"auths\":{{\"r.io\":{{\"auth\":\"{s}\"}}}}}}\n"),
        format!("{{\"auth\":\"{none}\"}}\n"),
        "root/.docker/config.json",
    );
    let s = dice.password();
    add(
        "netrc",
        &s,
        format!("machine git.corp.io login bot password {s}\n"),
        "machine git.corp.io login bot password <password>\n".into(),
        "root/.netrc",
    );
    let s = dice.password();
    add(
        "npmrc",
        &s,
        format!("//npm.corp.io/:_authToken={s}\n"),
        "//npm.corp.io/:_authToken=${NPM_TOKEN}\n".into(),
        "root/.npmrc",
    );
    let s = dice.password();
    add(
        "pgpass",
        &s,
        format!("db.corp.io:5432:shop:app:{s}\n"),
        format!("#db.corp.io:5432:shop:app:{s}\n"),
        "root/.pgpass",
    );
    let s = dice.password();
    add(
        "url-password",
        &s,
        format!("DSN=postgres://app:{s}@db.corp.io/shop\n"),
        "DSN=postgres://user:password@db.corp.io/shop\n".into(),
        "srv/app/run.sh",
    );
    let s = dice.password();
    add(
        "generic-secret",
        &s,
        format!("db_password = \"{s}\"\n"),
        "db_password = \"correct-horse-battery\"\n".into(),
        "srv/app/settings.py",
    );
}
