#!/usr/bin/env perl
# Writes the seeds of the fuzz targets, a folder of files for each, from the recorded sessions and from the
# corpus, which has an input in each line, in hexadecimal:
#     perl fuzz/seeds.pl FOLDER
use strict;
use warnings;

use FindBin;

my ($to) = @ARGV;
my %count;

sub keep {
    my ($target, $kind, $bytes) = @_;
    mkdir "$to/$target";
    my $name = sprintf '%s/%s/%s-%04d', $to, $target, $kind, $count{$target}++;
    open my $file, '>:raw', $name or die "$name: $!";
    print $file $bytes;
    close $file or die "$name: $!";
}

sub seed {
    my ($target, $bytes) = @_;
    keep($target, 'seed', $bytes);
}

for my $path (sort glob "$FindBin::Bin/corpus/*.txt") {
    my ($target) = $path =~ m{([^/]*)\.txt$};
    open my $file, '<', $path or die "$path: $!";
    while (<$file>) {
        chomp;
        keep($target, 'corpus', pack 'H*', $_);
    }
}

# What MySQL's and MariaDB's clients usually agree on, with and without the EOF behind columns.
my @agreed = (pack('Q<', 0x00ffffdf), pack('Q<', 0x00be_a285), pack('Q<', 0x1d * 2**32 + 0xbea284));

for my $path (sort glob "$FindBin::Bin/../tests/sessions/*.txt") {
    open my $file, '<', $path or die "$path: $!";
    my ($session, $commands, $login) = ('', '', 0);
    while (<$file>) {
        my ($who, $hex) = split;
        my $turn = pack 'H*', $hex;
        my $recorded = $who . pack('v', length $turn) . $turn;
        $session .= $recorded;
        # What follows the login.
        $commands .= $recorded if $login > 1;
        while (length $turn >= 4) {
            my $payload = substr $turn, 4, unpack('V', $turn) & 0xffffff;
            substr $turn, 0, 4 + length $payload, '';
            if ($login++ < 2) {
                seed('logins', $payload);
                next;
            }
            seed('packets', $_ . $payload) for @agreed[0, 1];
            # Three columns: a number, a text and a time.
            my $columns = pack 'C (C v C C)3', 3, 3, 0, 0, 11, 253, 0, 31, 40, 12, 0, 6, 26;
            my $of_statement = $who eq 'C' && $payload =~ /^[\x17\xfa]/;
            seed('statements', $agreed[2] . $columns . substr $payload, $of_statement ? 1 : 0);
            if ($who eq 'C' && $payload =~ /^[\x03\x16](.*)/s) {
                seed('sql', "\0$1");
                seed('linear', pack('C C/a C/a', 0, substr($1, 0, 40), substr($1, 0, 20)));
            }
        }
    }
    # Between equal ends, and between a client and a server of which only one has a capability.
    for my $pair ([0, 0], [0, 1], [1, 0], [1, 2], [2, 1]) {
        for my $armed (0, ~0) {
            seed('translated', $agreed[$$pair[0]] . $agreed[$$pair[1]] . pack('Q<', $armed) . $commands);
        }
    }
    seed('lockstep', $session);
    seed('tracker', $session);
    # Half of it, at a level each: the bytes as they are, and both algorithms.
    seed('compressed', pack('C C C v C', $_, 7, 9, 0, 0) . substr $session, 0, 900) for 2, 3, 14, 15;
}

for my $sql (
    "SELECT /*+ MAX_EXECUTION_TIME(1) */ a AS `b`, 'c''d', \"e\" FROM t AS u JOIN (SELECT 1) v WHERE a IN (1, 2) -- x",
    'WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT * FROM c, db.t FOR UPDATE',
    "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y') ON DUPLICATE KEY UPDATE a = VALUES(a) + LAST_INSERT_ID(3)",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin, \@\@session.time_zone = '+01:00', \@x := 2; USE `db`",
    'START TRANSACTION READ ONLY; PREPARE s FROM \'SELECT ?\'; EXECUTE s USING @x; ROLLBACK /*!80000 WORK */',
    "CREATE TEMPORARY TABLE t (a JSON, b VARCHAR(20)) SELECT x'AB', 0xAB, 1.5e3, N'n', _utf8mb4'u' # y\n",
  )
{
    seed('sql', pack('C', $_) . $sql) for 0, 15, 31;
}
# Repetitions of what has to be read to its end, or counted.
seed('linear', pack 'C C/a C/a', 0, $$_[0], $$_[1])
  for ['select ', ','], ['(', '('], ['', "'"], ['', '/*'], ['/*!', '/*!'], ['-- ', '--'], ['', '` '], ['', '@@'],
  ['set ', '@a=1,'], ['', 'a.'], ['select 1', ' union select 1'], ['', "\\'"], ['with a as (', 'b as ('], ['', ';'];

my $v2 = "\r\n\r\n\0\r\nQUIT\n";
seed('headers', $_)
  for "PROXY TCP4 192.0.2.1 192.0.2.2 12345 3306\r\n", "PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 1 65535\r\n",
  "PROXY UNKNOWN\r\n", $v2 . pack('C C n', 0x20, 0, 0), $v2 . pack('C C n', 0x21, 0x11, 15) . 'abcdefghijklXYZ',
  $v2 . pack('C C n', 0x21, 0x21, 36) . 'x' x 36;

seed('http', $_)
  for "GET /a%20b?c=d+e&f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
  "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
  "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n";

seed('certificates', pack 'H*', $_)
  for '3082010a0282010100', '302a300506032b6570032100' . '11' x 32, '30820122300d06092a864886f70d01010105000382010f00';
seed('certificates', "-----BEGIN $_-----\nMCowBQYDK2VwAyEA\n-----END $_-----\n")
  for 'CERTIFICATE', 'PRIVATE KEY', 'PUBLIC KEY', 'ENCRYPTED PRIVATE KEY';

seed('pairs', 'dpm-pair' . pack('C', 1));
