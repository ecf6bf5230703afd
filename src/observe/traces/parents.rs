//! Which trace a command says it is part of.

use super::context::{self, Given};
use crate::proxy::Incoming;
use crate::wire::{Attribute, Bound, Capabilities, Com, Execute, ParamValue, query_attributes};

/// What a query says: its attribute is newer than its comment, as it needs a newer client.
pub(super) fn of_query(packet: Incoming<'_>, sql: &[u8]) -> Given {
    let argument = packet.payload.get(1..).unwrap_or_default();
    let before = argument.len().saturating_sub(sql.len());
    let attributes = argument.get(..before).unwrap_or_default();
    if context::is_mentioned(attributes)
        && let Ok((attributes, _)) = query_attributes::decode(argument)
        && let given @ (Given::Parent(_) | Given::Invalid) = in_attributes(&attributes)
    {
        return given;
    }
    context::in_comments(sql)
}

/// What the attributes of an execution say, which come after its parameters.
pub(super) fn of_execution(packet: Incoming<'_>, params: u16) -> Given {
    let argument = packet.payload.get(1..).unwrap_or_default();
    if !packet.capabilities.contains(Capabilities::QUERY_ATTRIBUTES)
        || packet.command() != Some(Com::STMT_EXECUTE)
        || !context::is_mentioned(argument)
    {
        return Given::Nothing;
    }
    let bound = Bound {
        params,
        ..Bound::default()
    };
    let Ok(execute) = Execute::decode(argument, bound, packet.capabilities) else {
        return Given::Nothing;
    };
    let attributes = execute.params.into_iter().zip(execute.values);
    let attributes = attributes
        .skip(params.into())
        .map(|(param, value)| Attribute {
            name: param.name,
            param_type: param.param_type,
            value,
        });
    in_attributes(&attributes.collect::<Vec<_>>())
}

fn in_attributes(attributes: &[Attribute]) -> Given {
    let named = attributes
        .iter()
        .rfind(|attribute| attribute.name == context::NAME);
    match named.map(|attribute| &attribute.value) {
        None => Given::Nothing,
        Some(ParamValue::Bytes(value)) => context::of_value(value),
        Some(_) => Given::Invalid,
    }
}
