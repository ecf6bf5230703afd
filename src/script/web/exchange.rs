//! The object that a request is answered by.

use std::rc::Rc;

use mlua::{UserData, UserDataFields, Value};

use super::dropped::Dropped;
use super::leaving::Leaving;
use super::values;
use crate::http::{Exchange, Sent};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, Methods, Raiser, nothing, number, one};
use crate::script::runtime::Runtime;

/// How long one part of a stream may be.
const MAX_PART: usize = 1 << 20;

/// A request that is to be answered.
#[derive(Debug)]
pub struct ExchangeObject {
    exchange: Exchange,
    leaving: Rc<Leaving>,
    dropped: Dropped,
}

impl ExchangeObject {
    pub(super) fn new(
        exchange: Exchange,
        leaving: Rc<Leaving>,
        dropped: Dropped,
    ) -> ExchangeObject {
        ExchangeObject {
            exchange,
            leaving,
            dropped,
        }
    }
}

impl Drop for ExchangeObject {
    fn drop(&mut self) {
        if self.exchange.is_open() {
            self.dropped.note_exchange(self.exchange.clone());
        }
    }
}

impl UserData for ExchangeObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "http_exchange");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "http_exchange")?;
            let rt = runtime.clone();
            methods
                .add::<ExchangeObject>("answer", move |_, this, args| answer(&rt, this, args))?;
            methods.add::<ExchangeObject>("start", |_, this, args| {
                let head = values::head(args, 0)?;
                one(Value::Boolean(this.exchange.start(&head)))
            })?;
            methods.add::<ExchangeObject>("send", |_, this, args| {
                let part = args.bytes(0, "", MAX_PART)?;
                one(match this.exchange.send(&part) {
                    Sent::Taken => Value::Boolean(true),
                    Sent::Full => Value::Boolean(false),
                    Sent::Gone => Value::Nil,
                })
            })?;
            let rt = runtime.clone();
            methods.add::<ExchangeObject>("close", move |_, this, _| {
                super::dropped::abandon(&this.exchange);
                this.leaving.forget(&rt.refs, this.exchange.number());
                nothing()
            })?;
            methods.add::<ExchangeObject>("is_open", |_, this, _| {
                one(Value::Boolean(this.exchange.is_open()))
            })?;
            methods.add::<ExchangeObject>("pending", |_, this, _| {
                number(this.exchange.pending() as f64)
            })?;
            methods.add::<ExchangeObject>("on_close", move |_, this, args| {
                let function = args.function(0, "")?;
                let is_open = this.exchange.is_open();
                if is_open {
                    this.leaving
                        .add(&runtime.refs, this.exchange.number(), function)?;
                }
                one(Value::Boolean(is_open))
            })?;
            Ok(methods.table)
        });
    }
}

fn answer(runtime: &Runtime, this: &ExchangeObject, args: &Args) -> Answer {
    let response = values::response(args, 0)?;
    let answered = this.exchange.answer(&response);
    if answered {
        this.leaving.forget(&runtime.refs, this.exchange.number());
    }
    one(Value::Boolean(answered))
}
