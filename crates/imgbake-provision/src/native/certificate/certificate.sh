# Steps of type certificate.

# Where the machine keeps certificates that it trusts, and what reads them.
find_store() {
    resource certificates 'trust store'
    if has update-ca-trust && [ -d /etc/pki/ca-trust/source/anchors ]; then
        store=/etc/pki/ca-trust/source/anchors ending=pem tool=update-ca-trust
    elif has update-ca-certificates && [ -d /etc/pki/trust/anchors ]; then
        store=/etc/pki/trust/anchors ending=pem tool=update-ca-certificates
    elif has update-ca-certificates; then
        store=/usr/local/share/ca-certificates ending=crt tool=update-ca-certificates
    else
        fail 'the machine has no trust store: install the package ca-certificates in a step before'
    fi
    # In memory. A step that failed, or was ended, before the store was made anew finds it when it runs again.
    pending=/run/imgbake-trust-store-pending
    renew=no
    [ ! -e "$pending" ] || renew=yes
    : >"$pending"
}

# One certificate: its name and text.
certificate() {
    resource certificate "$1"
    put_text "$2" "$store/$1.$ending" 644
    [ -z "$diff" ] || renew=yes
    finish_resource
}

# The store is made anew where one changed.
update() {
    resource certificates 'trust store'
    if [ "$renew" = yes ]; then
        run "$tool"
        changes certificates old new
    fi
    rm -f "$pending"
    finish_resource
}
