//! What counts as the same answer.

use serde_json::Value;

use crate::battery;
use crate::ground::Way;

/// The answer with the account's name replaced by a fixed one, since a new account or the proxy's
/// own may be in use.
pub fn known_as(answer: &Value, user: &str) -> Value {
    let text = answer.to_string();
    let name = user.trim_start_matches("a_");
    let text = text
        .replace(user, "ACCOUNT")
        .replace(&format!("b_{name}"), "ACCOUNT");
    let text = text.replace("b_other", "a_other");
    // The proxy refuses logins like servers do, except for this part of the text.
    let text = text.replace(" (using password: YES)", "");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// What is to be compared of an answer that has come this way. Through the pool the numbers of a character
/// set's collations stand for each other, within the descriptions of columns: POOLING.md's limits say why.
pub fn shown(way: Way, mut answer: Value) -> Value {
    if way == Way::Pool {
        forget_collations(&mut answer);
    }
    answer
}

fn forget_collations(answer: &mut Value) {
    match answer {
        Value::Array(all) => all.iter_mut().for_each(forget_collations),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name == "columns" {
                    true => {
                        forget_numbers(value);
                        forget_precisions(value);
                    }
                    false => forget_collations(value),
                }
            }
        }
        _ => {}
    }
}

/// Connector/J tells how many characters a column of text may have. It divides bytes by what a character of the collation
/// takes at most, which it knows of the collations that it knows. By the same it calls a column TEXT or MEDIUMTEXT.
fn forget_precisions(columns: &mut Value) {
    for column in columns.as_array_mut().into_iter().flatten() {
        if column[9] != "java.lang.String" {
            continue;
        }
        column[5] = Value::Null;
        if column[3]
            .as_str()
            .is_some_and(|kind| kind.ends_with("TEXT"))
        {
            column[3] = "TEXT".into();
        }
    }
}

fn forget_numbers(columns: &mut Value) {
    match columns {
        Value::Array(all) => all.iter_mut().for_each(forget_numbers),
        Value::Object(fields) => fields.values_mut().for_each(forget_numbers),
        Value::Number(number) if number.as_u64().is_some_and(is_of_utf8mb4) => {
            *columns = "a collation of utf8mb4".into();
        }
        _ => {}
    }
}

/// Those of MySQL, and those of MariaDB 11.
fn is_of_utf8mb4(collation: u64) -> bool {
    matches!(collation, 45 | 46 | 224..=247 | 255..=323 | 2304..=2559)
}

/// A description of the difference between two answers.
pub fn difference(direct: &Value, other: &Value) -> Option<String> {
    if direct == other {
        return None;
    }
    Some(format!(
        "{} instead of {}",
        clip(&other.to_string(), 600),
        clip(&direct.to_string(), 300)
    ))
}

/// A refusal that the documentation announces (Limits): MySQL has resolved a parameter for a number, the client goes on with a
/// text, and its connection has changed in between.
fn is_announced(way: Way, step: &Value, answer: &Value) -> bool {
    way == Way::Pool
        && step["sql"] == battery::THREE
        && answer
            .to_string()
            .contains("not-restorable: this statement was executed for values of other types")
}

/// The first step whose result differs from those of all direct runs.
pub fn first_difference(
    way: Way,
    direct: &[[Value; 2]],
    said: &[Value; 2],
    steps: &[Value],
) -> Option<String> {
    let alike = |answers: &[Value; 2]| answers.clone().map(|answer| shown(way, answer));
    let direct: Vec<_> = direct.iter().map(alike).collect();
    let said = alike(said);
    for part in 0..2 {
        let all = said[part]["steps"].as_array();
        let count = direct[0][part]["steps"].as_array().map_or(0, Vec::len);
        if all.map_or(0, Vec::len) != count {
            return difference(&direct[0][part], &said[part]);
        }
        for n in 0..count {
            let step = &said[part]["steps"][n];
            let is_direct = |direct: &[Value; 2]| direct[part]["steps"][n] == *step;
            if direct.iter().any(is_direct) || part == 0 && is_announced(way, &steps[n], step) {
                continue;
            }
            let what = if part == 0 {
                clip(&steps[n].to_string(), 200)
            } else {
                "kill".into()
            };
            let why = difference(&direct[0][part]["steps"][n], step).unwrap_or_default();
            return Some(format!("{what}: {why}"));
        }
    }
    None
}

pub fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
