//! `dpm.exposition`: figures as text for Prometheus.

use mlua::{Lua, MultiValue, Table, Value};

use crate::metrics::{Family, FamilyKind, Format, Sample, SampleValue, encode};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::Args;

/// `dpm.exposition(families, accept)`: the text, and its content type.
pub fn exposition(lua: &Lua, args: &Args) -> Answer {
    let families = args.table(0, "families")?;
    let accept = match args.get(1) {
        Value::Nil => Vec::new(),
        _ => args.bytes(1, "accept", 1 << 14)?,
    };
    let families = families.sequence_values::<Table>();
    let families: Vec<Family> = families
        .map(|family| read(args, &family?))
        .collect::<Result<_, _>>()?;
    let format = Format::accepted(&accept);
    let text = lua.create_string(encode(families, format))?;
    let content_type = lua.create_string(format.content_type())?;
    let values = vec![Value::String(text), Value::String(content_type)];
    Ok(MultiValue::from_vec(values))
}

fn read(args: &Args, family: &Table) -> Result<Family, ScriptError> {
    let text = |key: &str| -> mlua::Result<Option<String>> {
        let value: Option<mlua::LuaString> = family.raw_get(key)?;
        Ok(value.map(|value| value.to_string_lossy()))
    };
    let kind = match text("kind")?.as_deref() {
        Some("counter") => FamilyKind::Counter,
        Some("gauge") => FamilyKind::Gauge,
        Some("histogram") => FamilyKind::Histogram,
        _ => return Err(args.error("kind: expected \"counter\", \"gauge\" or \"histogram\"")),
    };
    let samples: Table = family.raw_get("samples")?;
    let samples = samples.sequence_values::<Table>();
    let samples = samples.map(|sample| read_sample(&sample?));
    Ok(Family {
        name: text("name")?.unwrap_or_default(),
        help: text("help")?.unwrap_or_default(),
        unit: text("unit")?,
        labels: texts(family.raw_get("labels")?)?,
        samples: samples.collect::<mlua::Result<_>>()?,
        kind,
    })
}

/// Texts, whatever their bytes are: labels are UTF-8.
fn texts(table: Table) -> mlua::Result<Vec<String>> {
    let texts = table.sequence_values::<mlua::LuaString>();
    texts.map(|text| Ok(text?.to_string_lossy())).collect()
}

fn read_sample(sample: &Table) -> mlua::Result<Sample> {
    let value = match sample.raw_get("value")? {
        Value::Table(histogram) => {
            let buckets: Table = histogram.raw_get("buckets")?;
            let buckets = buckets.sequence_values::<Table>().map(|bucket| {
                let bucket = bucket?;
                let count: f64 = bucket.raw_get(2)?;
                Ok((bucket.raw_get(1)?, count as u64))
            });
            SampleValue::Histogram {
                buckets: buckets.collect::<mlua::Result<_>>()?,
                sum: histogram.raw_get("sum")?,
            }
        }
        Value::Integer(number) => SampleValue::Number(number as f64),
        Value::Number(number) => SampleValue::Number(number),
        _ => SampleValue::Number(f64::NAN),
    };
    Ok(Sample {
        labels: texts(sample.raw_get("labels")?)?,
        value,
    })
}
