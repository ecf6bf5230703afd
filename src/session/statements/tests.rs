use std::rc::Rc;

use super::budget::{MAX_CURSOR_COLUMNS, MAX_REMEMBERED};
use super::{Budget, Columns, Head, Kept, MOST_COUNTED, MOST_REMEMBERED, Statement, Statements};
use crate::wire::{Capabilities, Column, Com, LAST_PREPARED, PrepareOk, ResultsetHeader};

fn answer(id: u32, params: u8) -> Vec<u8> {
    let mut answer = vec![0];
    answer.extend_from_slice(&id.to_le_bytes());
    answer.extend_from_slice(&[1, 0, params, 0, 0, 0, 0]);
    answer
}

fn count(statements: &mut Statements, id: u32, params: u8) {
    statements.count(Head::of(&answer(id, params)));
}

fn remember(statements: &mut Statements, id: u32) -> Rc<Statement> {
    let head = PrepareOk {
        statement_id: id,
        params: 2,
        columns: 1,
        ..PrepareOk::default()
    };
    let budget = statements.budget().clone();
    let statement = Rc::new(Statement::new(head, Some("SELECT ?".into()), budget));
    statements.remember(statement.clone());
    statement
}

#[test]
fn statements_come_and_go() {
    let mut statements = Statements::default();
    count(&mut statements, 7, 3);
    assert_eq!(statements.params(7), Some(3));
    assert_eq!(statements.params(LAST_PREPARED), Some(3));
    assert_eq!(statements.params(8), None);
    statements.command(Com::STMT_CLOSE, Some(7));
    assert_eq!(statements.params(7), None);
    assert_eq!(statements.params(LAST_PREPARED), None);
    count(&mut statements, 8, 2);
    statements.command(Com::STMT_CLOSE, Some(LAST_PREPARED));
    assert_eq!(statements.params(8), None, "the last one was closed");
    count(&mut statements, 8, 2);
    statements.command(Com::RESET_CONNECTION, None);
    assert_eq!(statements.params(8), None);
    assert_eq!(statements.params(LAST_PREPARED), None);
}

#[test]
fn the_last_is_not_the_one_before() {
    let mut statements = Statements::default();
    count(&mut statements, 1, 3);
    statements.command(Com::STMT_PREPARE, None);
    assert_eq!(statements.params(LAST_PREPARED), None);
    assert_eq!(statements.params(1), Some(3));
}

#[test]
fn the_number_of_statements_is_bounded() {
    let mut statements = Statements::default();
    for id in 0..=MOST_COUNTED as u32 {
        count(&mut statements, id, 2);
    }
    assert_eq!(statements.params(0), None, "rather than a guess");
    assert_eq!(statements.params(1), Some(2));
    assert_eq!(statements.ids().count(), MOST_COUNTED);
    let mut statements = Statements::default();
    for id in 0..MOST_REMEMBERED as u32 {
        remember(&mut statements, id);
    }
    statements.touch(0);
    remember(&mut statements, 9999);
    assert!(statements.get(0).is_some(), "it was used");
    assert!(statements.get(1).is_none());
    assert_eq!(statements.ids().count(), MOST_REMEMBERED);
    assert_eq!(statements.by_age.len(), MOST_REMEMBERED);
    remember(&mut statements, 9999);
    assert_eq!(statements.by_age.len(), MOST_REMEMBERED);
}

#[test]
fn notes_last_as_long_as_a_tracker_remembers_the_statement() {
    let (mut one, mut other) = (Statements::default(), Statements::default());
    let statement = remember(&mut one, 1);
    assert_eq!(statement.sql(), Some(&b"SELECT ?"[..]));
    other.remember(statement.clone());
    assert!(statement.set_note(Rc::new(5_u32)));
    one.command(Com::STMT_CLOSE, Some(1));
    let note = statement
        .note()
        .and_then(|note| note.downcast::<u32>().ok());
    assert_eq!(note.as_deref(), Some(&5));
    drop(other);
    assert!(statement.note().is_none());
    assert!(!statement.set_note(Rc::new(5_u32)), "nobody would drop it");
    let kept = Kept::new(statement.clone());
    assert!(statement.set_note(Rc::new(6_u32)));
    drop(kept);
    assert!(statement.note().is_none());
}

fn header(columns: u64) -> ResultsetHeader {
    ResultsetHeader {
        columns,
        definitions: true,
        ..ResultsetHeader::default()
    }
}

fn result_of(statement: &Rc<Statement>, columns: u64, name: usize) -> Rc<Columns> {
    let arrived = Rc::new(Columns::announced(&header(columns)));
    statement.result_begins(&arrived, &header(columns));
    for _ in 0..columns {
        arrived.note(Column {
            name: vec![b'x'; name],
            ..Column::default()
        });
    }
    arrived
}

/// How many columns a result has that comes without any.
fn bare_result_of(statement: &Rc<Statement>) -> usize {
    let bare = ResultsetHeader {
        definitions: false,
        ..header(4)
    };
    let arrived = Rc::new(Columns::announced(&bare));
    statement.result_begins(&arrived, &bare);
    arrived.known().len()
}

#[test]
fn columns_of_results_are_bounded_over_all_statements() {
    let budget = Rc::new(Budget::default());
    let new = || Rc::new(Statement::new(PrepareOk::default(), None, budget.clone()));
    let mut statements = Vec::new();
    for _ in 0..64 {
        let statement = new();
        assert_eq!(result_of(&statement, 4, 1 << 18).known().len(), 4);
        statements.push(statement);
    }
    assert!(budget.remembered.get() <= MAX_REMEMBERED);
    assert_eq!(bare_result_of(&statements[0]), 4);
    assert_eq!(bare_result_of(&statements[63]), 0, "all or none");
    // The next result replaces the last one, and closed statements make room.
    for _ in 0..64 {
        result_of(&statements[0], 4, 1 << 18);
        assert_eq!(bare_result_of(&statements[0]), 4);
    }
    statements.truncate(1);
    assert_eq!(bare_result_of(&statements[0]), 4);
    let statement = new();
    result_of(&statement, 4, 1 << 18);
    assert_eq!(bare_result_of(&statement), 4);
    // A result of before that goes on does not count any more.
    let before = Rc::new(Columns::announced(&header(2)));
    statement.result_begins(&before, &header(2));
    result_of(&statement, 2, 9);
    let taken = budget.remembered.get();
    before.note(Column::default());
    assert_eq!(budget.remembered.get(), taken);
    drop((statement, statements));
    assert_eq!(budget.remembered.get(), 0);
}

#[test]
fn a_text_that_is_too_much_is_not_remembered() {
    let budget = Rc::new(Budget::default());
    let sql = |size: usize| Some(vec![b'x'; size].into());
    let large = Statement::new(PrepareOk::default(), sql(MAX_REMEMBERED), budget.clone());
    assert!(large.sql().is_some());
    let other = Statement::new(PrepareOk::default(), sql(1), budget.clone());
    assert!(other.sql().is_none());
    drop(large);
    let other = Statement::new(PrepareOk::default(), sql(1), budget);
    assert!(other.sql().is_some());
}

/// The start of COM_STMT_EXECUTE's argument for statement 0.
fn execute(flags: u8) -> [u8; 9] {
    [0, 0, 0, 0, flags, 1, 0, 0, 0]
}

#[test]
fn the_columns_of_cursors_are_bounded() {
    let mut statements = Statements::default();
    let one = remember(&mut statements, 1);
    let two = remember(&mut statements, 2);
    let none = Capabilities::empty();
    one.goes_to_server(&execute(0), none);
    result_of(&one, MAX_CURSOR_COLUMNS + 1, 0);
    assert!(two.may_open_cursor(), "there was no cursor");
    one.goes_to_server(&execute(1), none);
    result_of(&one, 3, 0);
    assert!(two.may_open_cursor());
    result_of(&one, MAX_CURSOR_COLUMNS + 1, 0);
    assert!(one.may_open_cursor() && !two.may_open_cursor());
    statements.command(Com::STMT_CLOSE, Some(1));
    assert!(two.may_open_cursor(), "it was closed");
    assert_eq!(statements.budget().cursor_columns.get(), 0);
}

#[test]
fn the_server_is_told_of_types_that_it_has_not_got() {
    let mut statements = Statements::default();
    let statement = remember(&mut statements, 0);
    let none = Capabilities::empty();
    let with = |types: [u8; 4]| {
        let mut argument = execute(0).to_vec();
        argument.extend_from_slice(&[3, 1]);
        argument.extend_from_slice(&types);
        argument
    };
    let mut without = execute(0).to_vec();
    without.extend_from_slice(&[3, 0]);
    assert!(statement.goes_to_server(&without, none), "nothing is bound");
    let numbers = with([3, 0, 3, 0]);
    statement.command(Com::STMT_EXECUTE, &numbers, none);
    // A script keeps that, and sends other types.
    assert!(statement.goes_to_server(&with([8, 0, 8, 0]), none));
    statement.command(Com::STMT_EXECUTE, &without, none);
    assert!(!statement.goes_to_server(&without, none));
    statement.server_was_told();
    assert!(statement.goes_to_server(&without, none));
    assert!(statement.goes_to_server(&numbers, none));
    assert!(statement.goes_to_server(&without, none));
}
