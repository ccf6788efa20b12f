#!/bin/sh
# Makes the certificates of the TLS tests anew: an authority, a server at localhost, a client, and an
# authority that nobody trusts. They are valid for a hundred years and good for nothing else.
set -eu
cd "$(dirname "$0")"
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
authority() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -days 36500 -subj "/CN=$1" -out "$1.pem"
}
signed() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf '%s\n' "basicConstraints=CA:FALSE" "$2" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 \
        -extfile "$1.ext" -out "$1.pem"
}
authority ca
authority other-ca
signed server "subjectAltName=DNS:mq.example,IP:127.0.0.1"
signed client "extendedKeyUsage=clientAuth"
rm -f ./*.csr ./*.ext ./*.srl ca.key other-ca.key
