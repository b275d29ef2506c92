#!/bin/sh
# Make the certificates of the tests anew: `cd tests/tls && ./make.sh`. They are for tests only, are
# trusted by nobody, and are kept in the repository so that no test needs openssl.
set -eu

days=36500
authority() { # file, name
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days \
        -subj "/CN=$2" -keyout "$1.key" -out "$1.pem"
}
authority authority 'teltonika-processor tests only'
authority stranger 'teltonika-processor tests only, another authority'

openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
    -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' >server.ext
openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial \
    -days $days -extfile server.ext -out server.pem

# encrypted.key: the same key as an operator should not store it.
openssl ec -in server.key -aes256 -passout pass:secret -out encrypted.key

# renewed.pem: what an operator puts in the place of server.pem one day.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout renewed.key -out renewed.pem

# revoked.pem: the authority takes back server.pem.
printf '[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ndefault_md=sha256\n' >ca.cnf
: >index.txt
openssl ca -config ca.cnf -cert authority.pem -keyfile authority.key -revoke server.pem
openssl ca -config ca.cnf -cert authority.pem -keyfile authority.key -gencrl -crldays $days \
    -out revoked.pem
rm -f server.csr server.ext ./*.srl authority.key stranger.key ca.cnf index.txt*
