//! Rows, text and binary; the parameters of executes, bulk executes and query attributes; and what a
//! session tracker reads in an OK.
#![no_main]

use bytes::Bytes;
use dpm::wire::execute_form::{with_count, without_attributes};
use dpm::wire::{
    BinaryColumn, Bound, BulkExecute, Capabilities, ColumnType, Execute, Param, ParamType, TextRow,
    binary_row, query_attributes, row, session_changes,
};
use dpm_fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

fn text_row(payload: &[u8]) {
    let Ok(values) = TextRow::new(payload).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let mut again = Vec::new();
    row::encode(values.iter().copied(), &mut again);
    let same: Result<Vec<_>, _> = TextRow::new(&again).collect();
    assert_eq!(same.as_ref(), Ok(&values));
}

fn binary_row(payload: &[u8], columns: &[BinaryColumn]) {
    let Ok(values) = binary_row::decode(payload, columns) else {
        return;
    };
    let mut again = Vec::new();
    let texts = values.iter().map(Option::as_deref);
    // A value may be none that its column can have, such as a month 200.
    if binary_row::encode(texts, columns, &mut again).is_ok() {
        // No server sends a number that is infinite, which is read as 0.
        let same = binary_row::decode(&again, columns).expect("what was encoded");
        let mut once_more = Vec::new();
        let texts = same.iter().map(Option::as_deref);
        binary_row::encode(texts, columns, &mut once_more).expect("it could be before");
        assert_eq!(once_more, again);
    }
}

fn execute(argument: &[u8], types: &[Param], capabilities: Capabilities) {
    let bound = Bound {
        params: types.len() as u16,
        types,
        long_data: &[1, 3],
    };
    let Ok(packet) = Execute::decode(argument, bound, capabilities) else {
        return;
    };
    let mut again = Vec::new();
    // Servers refuse an execute without the values of its parameters, whatever else is in it.
    let is_short = packet.values.is_empty() && !types.is_empty();
    if packet.encode(capabilities, &mut again).is_ok() && !is_short {
        let same = Execute::decode(&again, bound, capabilities).expect("what was encoded");
        assert_eq!(format!("{:?}", same.values), format!("{:?}", packet.values));
        assert_eq!(same.params, packet.params);
    }
}

fn bulk(argument: &[u8], types: &[ParamType]) {
    let argument = Bytes::copy_from_slice(argument);
    let Ok((packet, rows)) = BulkExecute::decode(&argument, types.len() as u16, types) else {
        return;
    };
    let Ok(rows) = rows.take(1000).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let mut again = Vec::new();
    if packet.encode(&rows, &mut again).is_ok() {
        let (same, left) = BulkExecute::decode(&again.into(), types.len() as u16, types)
            .expect("what was encoded");
        assert_eq!(same, packet);
        let left: Result<Vec<_>, _> = left.collect();
        assert_eq!(format!("{left:?}"), format!("{:?}", Ok::<_, ()>(rows)));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let capabilities = input.capabilities();
    let count = usize::from(input.u8() % 20);
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(BinaryColumn {
            column_type: ColumnType(input.u8()),
            flags: input.u16(),
            decimals: input.u8(),
            length: u32::from(input.u8()),
        });
    }
    let types = columns.iter().map(|column| ParamType {
        column_type: column.column_type,
        unsigned: column.flags & 32 != 0,
    });
    let types: Vec<_> = types.collect();
    let params = types.iter().map(|param_type| Param {
        param_type: *param_type,
        name: Vec::new(),
    });
    let params: Vec<_> = params.collect();
    let payload = input.rest();
    text_row(payload);
    binary_row(payload, &columns);
    execute(payload, &params, capabilities);
    bulk(payload, &types);
    let _ = with_count(payload, params.len() as u16);
    let _ = without_attributes(payload, params.len() as u16);
    if let Ok((attributes, size)) = query_attributes::decode(payload) {
        assert!(size <= payload.len());
        let mut again = Vec::new();
        if query_attributes::encode(&attributes, &mut again).is_ok() {
            let (same, _) = query_attributes::decode(&again).expect("what was encoded");
            assert_eq!(format!("{same:?}"), format!("{attributes:?}"));
        }
    }
    if let Ok(changes) = session_changes::decode(payload) {
        let again = session_changes::encode(&changes);
        assert_eq!(session_changes::decode(&again), Ok(changes));
    }
    let _ = session_changes::without_redirect(payload);
});
