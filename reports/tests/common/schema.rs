//! JSON Schema, as far as the schemas of this crate use it.

use serde_json::{Map, Value};

/// Checks a value against the part of JSON Schema (2020-12) that the schemas use; another keyword
/// is a failure. The error is the place and what is wrong there.
pub struct Schema<'a>(pub &'a Value);

impl Schema<'_> {
    /// Checks `value`, which stands at `at`, against a part of the schema.
    pub fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        for (keyword, says) in schema.as_object().unwrap() {
            self.keyword(keyword, says, schema, value, at)
                .map_err(|e| format!("{at}: {e}"))?;
        }
        Ok(())
    }

    fn keyword(
        &self,
        keyword: &str,
        says: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let unless = |ok: bool| {
            if ok {
                Ok(())
            } else {
                Err(format!("{keyword} {says}"))
            }
        };
        match keyword {
            "$schema" | "title" | "description" | "$defs" => Ok(()),
            "$ref" => {
                let name = says.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                self.check(&self.0["$defs"][name], value, at)
            }
            "const" => unless(value == says),
            "enum" => unless(says.as_array().unwrap().contains(value)),
            "anyOf" => {
                let mut any = says.as_array().unwrap().iter();
                unless(any.any(|s| self.check(s, value, at).is_ok()))
            }
            "type" => {
                let names = says
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![says.clone()]);
                unless(names.iter().any(|name| is(value, name.as_str().unwrap())))
            }
            "minimum" => unless(value.as_f64().is_none_or(|x| Some(x) >= says.as_f64())),
            "minItems" => unless(length(value).is_none_or(|n| Some(n) >= says.as_u64())),
            "maxItems" => unless(length(value).is_none_or(|n| Some(n) <= says.as_u64())),
            "required" => {
                let Some(object) = value.as_object() else {
                    return Ok(());
                };
                let mut names = says.as_array().unwrap().iter();
                unless(names.all(|n| object.contains_key(n.as_str().unwrap())))
            }
            "properties" | "additionalProperties" => self.object(schema, value, at),
            "items" | "prefixItems" => self.array(schema, value, at),
            _ => Err("a keyword that this test does not know".into()),
        }
    }

    fn object(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let known = schema["properties"].as_object().unwrap();
        for (name, value) in value.as_object().unwrap_or(&Map::new()) {
            match known.get(name) {
                Some(schema) => self.check(schema, value, &format!("{at}.{name}"))?,
                None => return Err(format!("{name}: not in the schema")),
            }
        }
        Ok(())
    }

    fn array(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let first = schema["prefixItems"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for (i, item) in value.as_array().unwrap_or(&Vec::new()).iter().enumerate() {
            match first.get(i).unwrap_or(&schema["items"]) {
                Value::Bool(false) => return Err(format!("{i}: one too many")),
                schema => self.check(schema, item, &format!("{at}[{i}]"))?,
            }
        }
        Ok(())
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_array().map(|items| items.len() as u64)
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        _ => false,
    }
}
