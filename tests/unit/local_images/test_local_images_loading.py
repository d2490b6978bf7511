from innervate_local.images import loading
from innervate_local.images.archive import Image
from innervate_local.images.store import Blob

LISTING = """\
REF                           TYPE                                       DIGEST     SIZE    PLATFORMS   LABELS
docker.io/innervate/same:1    application/vnd.oci.image.manifest.v1+json sha256:one 1.0 MiB linux/amd64 -
docker.io/innervate/changed:1 application/vnd.oci.image.manifest.v1+json sha256:old 1.0 MiB linux/amd64 -
"""


def _image(name, digest):
    return Image(f"innervate/{name}:1", Blob(digest, 1), Blob("sha256:c", 1), ())


def test_a_node_gets_what_it_lacks_and_what_changed():
    images = [_image("same", "sha256:one"), _image("changed", "sha256:new"), _image("absent", "sha256:two")]
    assert loading.lacking(images, LISTING) == images[1:]
    assert loading.lacking(images, "") == images
