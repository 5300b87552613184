#!/usr/bin/perl
# A short message service centre of Net::SMPP: a peer that shares nothing with us. Each connection has a process of its own.
# Says what happens on standard output, one line each: word, then values.
use strict;
use warnings;
use Net::SMPP;

$| = 1;
$SIG{CHLD} = 'IGNORE';
my $listener = Net::SMPP->new_listen('127.0.0.1', port => shift, smpp_version => 0x34) or die "cannot listen: $!";
print "ready\n";
while (my $session = $listener->accept) {
    next if fork;
    $session->smpp_version(0x34) if $session->can('smpp_version');
    serve($session);
    exit 0;
}

sub serve {
    my ($session) = @_;
    my $ids = 0;
    while (my $pdu = $session->read_pdu) {
        my $command = $pdu->{cmd};
        if ($command == Net::SMPP::CMD_bind_transmitter || $command == Net::SMPP::CMD_bind_receiver) {
            my $status = $pdu->{password} eq 'secret' ? 0 : 0x0e;
            print "bind $pdu->{system_id} $pdu->{interface_version} $status\n";
            my %answer = (seq => $pdu->{seq}, status => $status, system_id => 'perl');
            if ($command == Net::SMPP::CMD_bind_transmitter) { $session->bind_transmitter_resp(%answer) }
            else { $session->bind_receiver_resp(%answer); deliver($session) if !$status }
        }
        elsif ($command == Net::SMPP::CMD_submit_sm) {
            my $message = defined $pdu->{message_payload} ? $pdu->{message_payload} : $pdu->{short_message};
            print "submit $pdu->{destination_addr} $pdu->{esm_class} $pdu->{data_coding} ", unpack('H*', $message), "\n";
            $session->submit_sm_resp(seq => $pdu->{seq}, message_id => 'perl' . ++$ids);
        }
        elsif ($command == Net::SMPP::CMD_query_sm) {
            $session->query_sm_resp(seq => $pdu->{seq}, message_id => $pdu->{message_id}, final_date => '', message_state => 2, error_code => 0);
        }
        elsif ($command == Net::SMPP::CMD_enquire_link) { $session->enquire_link_resp(seq => $pdu->{seq}) }
        elsif ($command == (Net::SMPP::CMD_deliver_sm | 0x80000000)) { print "answered $pdu->{status}\n" }
        elsif ($command == Net::SMPP::CMD_unbind) { $session->unbind_resp(seq => $pdu->{seq}); print "unbind\n"; last }
        else { printf "other %x\n", $command }
    }
    $session->close;
}

sub deliver {
    my ($session) = @_;
    my %who = (source_addr => '4912345', source_addr_ton => 1, source_addr_npi => 1, destination_addr => '1000', async => 1);
    $session->deliver_sm(%who, data_coding => 0, short_message => 'hello');
    $session->deliver_sm(%who, data_coding => 8, short_message => pack('n*', 0x416, 0x43B));
    $session->deliver_sm(%who, esm_class => 0x40, short_message => "\x05\x00\x03\x09\x02\x02" . 'there');
    $session->deliver_sm(%who, esm_class => 0x40, short_message => "\x05\x00\x03\x09\x02\x01" . 'hello ');
    $session->deliver_sm(%who, esm_class => 4, short_message => 'id:perl1 sub:001 dlvrd:001 submit date:2611240500 done date:2611240501 stat:DELIVRD err:000 text:abc');
}
