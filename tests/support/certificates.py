"""An authority and a certificate, made on the spot."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def make_certificates(folder: Path) -> None:
    """An authority (ca.crt) and a certificate by it (node.crt, node.key), as Ray's documentation has people make them."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)
    authority_key, node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(authority_key, hashes.SHA256())
        )

    node = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    pem = serialization.Encoding.PEM
    ca_bytes = certificate(authority, authority_key, is_authority=True).public_bytes(pem)
    (folder / "ca.crt").write_bytes(ca_bytes)
    (folder / "node.crt").write_bytes(certificate(node, node_key, is_authority=False).public_bytes(pem))
    (folder / "node.key").write_bytes(
        node_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
