//! The part of the control path that scripts token requests and introspections.

use super::problem::{Problem, checked_script_name, read};
use super::{Answer, Control};
use crate::script::{Script, Scripts, Step};
use crate::shared::State;
use axum::Router;
use axum::extract::{self, Path};
use axum::response::Json;
use axum::routing::post;
use serde_json::{Value, json};

const STEP: &str = r#"a step like {"before": "2s", "rotate": true, "after": "hold", "answer": {"status": {"status": 503}}}, a list of steps, or {"repeat": STEP}; README.md has them all"#;

/// What is scripted, and what a step of it may say.
#[derive(Clone, Copy)]
struct Scripted {
    scripts: fn(&mut State) -> &mut Scripts,
    validate: fn(&Step) -> Result<(), String>,
}

const EXCHANGES: Scripted = Scripted { scripts: |state| &mut state.scripts, validate: Step::validate };

const INTROSPECTIONS: Scripted =
    Scripted { scripts: |state| &mut state.introspections, validate: Step::validate_introspection };

pub(super) fn router() -> Router<Control> {
    Router::new().merge(at("script", EXCHANGES)).merge(at("introspection-script", INTROSPECTIONS))
}

fn at(path: &str, scripted: Scripted) -> Router<Control> {
    let add = async move |extract::State(control): extract::State<Control>, Path(name): Path<String>, body: String| {
        scripted.add(&control, &name, &body)
    };
    let clear = async move |extract::State(control): extract::State<Control>, Path(name): Path<String>| {
        scripted.clear(&control, &name)
    };
    Router::new().route(&format!("/connections/{{name}}/{path}"), post(add).delete(clear))
}

impl Scripted {
    fn add(self, control: &Control, name: &str, body: &str) -> Answer {
        let name = checked_script_name(name)?;
        let script = match read(body, STEP)? {
            Value::Array(steps) => {
                let steps = steps.into_iter().map(|value| self.step(value)).collect::<Result<Vec<Step>, Problem>>()?;
                self.change(control, |scripts| scripts.push(name, steps), name)
            }
            Value::Object(mut object) if object.contains_key("repeat") && object.len() == 1 => {
                let step = self.step(object.remove("repeat").unwrap_or_default())?;
                self.change(control, |scripts| scripts.repeat(name, step), name)
            }
            other => {
                let step = self.step(other)?;
                self.change(control, |scripts| scripts.push(name, [step]), name)
            }
        };
        Ok(Json(json!({ "script": script })))
    }

    fn step(self, value: Value) -> Result<Step, Problem> {
        let step: Step = serde_json::from_value(value).map_err(|error| Problem::bad(error.to_string(), STEP))?;
        (self.validate)(&step).map_err(|error| Problem::bad(error, STEP))?;
        Ok(step)
    }

    /// Changes the scripts; returns what is pending for the connection then.
    fn change(self, control: &Control, change: impl FnOnce(&mut Scripts), name: &str) -> Script {
        control.shared.change(|state, _| {
            let scripts = (self.scripts)(state);
            change(scripts);
            scripts.pending(name)
        })
    }

    fn clear(self, control: &Control, name: &str) -> Answer {
        let name = checked_script_name(name)?;
        self.change(control, |scripts| scripts.clear(name), name);
        Ok(Json(json!({ "cleared": name })))
    }
}
