# Perl's DBD::mysql or DBD::MariaDB, which is the argument. The job protocol: see ../python/jobs.py.
use strict;
use warnings;
use DBI;
use JSON::PP;
use Digest::MD5 qw(md5_hex);

my $driver = $ARGV[0] eq 'mysql' ? 'mysql' : 'MariaDB';
my $own = $driver eq 'mysql' ? 'mysql' : 'mariadb';
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub value {
    my ($v) = @_;
    return undef unless defined $v;
    utf8::encode($v) if utf8::is_utf8($v);
    return '#' . length($v) . ':' . md5_hex($v) if length($v) > 300;
    return $v =~ /^[\x20-\x7e]*$/ ? "s:$v" : 'x:' . unpack('H*', $v);
}

sub table {
    my ($st) = @_;
    my @columns = map {
        my $i = $_;
        [map { value($_->[$i]) } $st->{NAME}, $st->{TYPE}, $st->{PRECISION}, $st->{SCALE}, $st->{NULLABLE}, $st->{"${own}_type"}]
    } 0 .. $st->{NUM_OF_FIELDS} - 1;
    my @rows = map { [map { value($_) } @$_] } @{ $st->fetchall_arrayref // [] };
    my $shown = @columns > 50 ? [scalar(@columns), md5_hex($json->encode(\@columns))] : \@columns;
    my $fetched = @rows > 3 && @rows * @columns > 2000 ? [scalar(@rows), md5_hex($json->encode(\@rows))] : \@rows;
    return { columns => $shown, rows => $fetched };
}

sub error {
    my ($h) = @_;
    my $message = $h->errstr // '';
    $message =~ s/ at \S+ line \d+.*//s;
    return { error => [$h->err, $h->state, value($message)] };
}

sub results {
    my ($st) = @_;
    my @said;
    while (1) {
        push @said, $st->{NUM_OF_FIELDS} ? table($st) : { affected => $st->rows, id => $st->{"${own}_insertid"} };
        push @said, error($st) if $st->err;
        last unless $st->more_results;
    }
    push @said, error($st) if $st->err;
    return \@said;
}

sub parameter {
    my ($p) = @_;
    return $p unless ref $p eq 'HASH';
    return pack('H*', $p->{hex}) if exists $p->{hex};
    return $p->{repeat} x $p->{times} if exists $p->{repeat};
    return $p->{int} // $p->{decimal} // $p->{datetime};
}

sub run {
    my ($conn, $sql, $server_side, @params) = @_;
    my $st = $conn->prepare($sql, { "${own}_server_prepare" => $server_side }) or return error($conn);
    $st->execute(@params) or return error($st);
    my $said = results($st);
    $st->finish;
    return $said;
}

sub step {
    my ($conn, $step) = @_;
    my $op = $step->{op};
    return run($conn, $step->{sql}, 0) if $op eq 'query';
    return run($conn, "SELECT LENGTH('" . 'y' x $step->{n} . "')", 0) if $op eq 'big';
    # DBD::MariaDB 1.22 hangs at the second result. DBD::mysql 4.050 goes by the first EOF alone to see whether results
    # follow, and takes the next one for the answer to its next command where that EOF is made by the proxy.
    return 'unsupported' if $op eq 'prepare' && $step->{sql} =~ /^CALL/;
    return run($conn, $step->{sql}, 1, map { parameter($_) } @{ $step->{params} }) if $op eq 'prepare';
    return $conn->ping ? 1 : 0 if $op eq 'ping';
    return (split /:/, $conn->{"${own}_stat"} // '')[0] if $op eq 'statistics';
    return 'unsupported';
}

sub connection {
    my ($job) = @_;
    my $dsn = "DBI:$driver:database=$job->{database};host=$job->{host};port=$job->{port}"
        . ";${own}_local_infile=1;${own}_multi_statements=1;${own}_connect_timeout=20";
    if ($job->{compression} eq 'zlib') { $dsn .= ";${own}_compression=1" }
    elsif ($job->{compression} ne 'none') { return 'unsupported' }
    if ($job->{tls} ne 'off') {
        $dsn .= ";${own}_ssl=1";
        # Without a certificate to verify they cannot require TLS. The runner checks whether the
        # connection has it.
        $dsn .= $job->{tls} eq 'verify-ca'
            ? ";${own}_ssl_verify_server_cert=1;${own}_ssl_ca_file=$job->{ca}"
            : ";${own}_ssl_optional=1";
    }
    my %more = $driver eq 'mysql' ? (mysql_enable_utf8mb4 => 1) : ();
    return DBI->connect($dsn, $job->{user}, $job->{password},
        { RaiseError => 0, PrintError => 0, AutoCommit => 1, %more }) // { error => [$DBI::err, $DBI::errstr] };
}

$| = 1;
my $class = "DBD::$driver";
eval "require $class" or die $@;
print $json->encode({ client => "Perl $class " . $class->VERSION }), "\n";
while (my $line = <STDIN>) {
    my $job = $json->decode($line);
    my $conn = connection($job);
    my $answer;
    if (ref $conn eq 'HASH') { $answer = $conn }
    elsif (!ref $conn) { $answer = { error => $conn } }
    else {
        $answer = { steps => [map { my $s = $_; my $said = eval { step($conn, $s) }; $@ ? { died => value("$@") } : $said } @{ $job->{steps} }] };
        $conn->disconnect;
    }
    print $json->encode($answer), "\n";
}
