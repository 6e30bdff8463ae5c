//! What everybody's images are full of and what is no secret.

use crate::kit::in_file;

/// Each in a file of somebody's own program, where names alone would be believed.
const NONE: &[&str] = &[
    "password = \"correct horse battery staple\"",
    "password = os.environ[\"DB_PASSWORD\"]",
    "password = \"${DB_PASSWORD}\"",
    "password: \"{{ .Values.password }}\"",
    "secret_token = \"<your token here>\"",
    "api_key = \"your_api_key_1234567890\"",
    "api_key = \"0123456789abcdef0123456789abcdef\"",
    "token = \"123e4567-e89b-12d3-a456-426614174000\"",
    "integrity_token = \"sha512-x7Gh2kP9mQ4vT1wZ8nB3x7Gh2kP9mQ4vT1wZ8nB3\"",
    "password_hash = \"x7Gh2kP9mQ4vT1wZ8nB3\"",
    "public_token = \"x7Gh2kP9mQ4vT1wZ8nB3\"",
    "csrf_token = \"x7Gh2kP9mQ4vT1wZ8nB3\"",
    "if password == \"x7Gh2kP9mQ4vT1wZ8nB3\":",
    "password_file = \"/run/secrets/x7Gh2kP9mQ4vT1wZ8nB3\"",
    "token = getTokenFromRequest22(x7Gh2kP9mQ4vT1wZ8nB3)",
    "postgres://user:password@localhost:5432/db",
    "https://user:secret@example.com/",
    "https://${USER}:${PASSWORD}@registry.corp.io/",
    "self.pre_auth = pre_authentication_of_the_user",
    "f'machine {hostname} login {self.username} password {self.password}'",
    "ssh://git@github.com/a/b",
    "{\"auth\": \"\"}",
    "-----BEGIN PRIVATE KEY-----",
    "grep -q '-----BEGIN RSA PRIVATE KEY-----' \"$file\" && echo '-----END RSA PRIVATE KEY-----'",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "AKIAXXXXXXXXXXXXXXXX",
    "a task-based mask_ and sk-learn, SG.1, hf_hub, dapi, npm_config_registry=x",
];

#[test]
fn what_only_looks_like_a_secret_is_not_told() {
    for text in NONE {
        let found = in_file("srv/app/main.py", text.as_bytes());
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

/// The key of Azurite is in Microsoft's documentation, so it opens nothing but emulators.
#[test]
fn the_key_of_an_emulator_is_none() {
    let parts =
        ["Eby8vdM02xNOcqFlqUwJPLlmEtlCDX", "J1OUzFT50uSRZ6IFsuFq2UVErCz4I6", "tq/K1SZFPTOtr/KBHBeksoGMGw=="];
    let found =
        |key: &str| in_file("srv/app/run.sh", format!("AccountName=a;AccountKey={key};").as_bytes()).len();
    let key = parts.concat();
    assert_eq!(found(&key), 0);
    assert_eq!(found(&key.replacen("Eby8", "Eby9", 1)), 1);
}
