"""What people do with boto3: see TestE2EClients. Usage: boto.py ENDPOINT BUCKET TREE BACK"""
import concurrent.futures
import hashlib
import os
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, bucket, tree, back = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)


def step(name):
    print(name, flush=True)


def refused(code, call, **args):
    try:
        call(Bucket=bucket, **args)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return
    raise AssertionError(f"{call.__name__} {args} was not refused with {code}")


step(f"boto3 {boto3.__version__}: the tree there and back")
s3.create_bucket(Bucket=bucket)
s3.get_waiter("bucket_exists").wait(Bucket=bucket)
keys = {os.path.relpath(os.path.join(d, f), tree) for d, _, files in os.walk(tree) for f in files}
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for f in [pool.submit(s3.upload_file, os.path.join(tree, k), bucket, k, Config=parts) for k in keys]:
        f.result()
listed = {}
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 300}):
    listed.update({o["Key"]: o for o in page["Contents"]})
assert set(listed) == keys, set(listed) ^ keys
assert list(listed) == sorted(listed, key=lambda k: k.encode())


def download(key):
    path = os.path.join(back, key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    s3.download_file(bucket, key, path, Config=parts)
    assert os.path.getsize(path) == listed[key]["Size"]


with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for f in [pool.submit(download, k) for k in keys]:
        f.result()

step("metadata, ranges, conditions")
etag = s3.put_object(Bucket=bucket, Key="o", Body=b"hello, world", ContentType="text/x", Metadata={"a": "b c"}, Tagging="k=v&l=m")["ETag"]
head = s3.head_object(Bucket=bucket, Key="o")
assert head["ContentType"] == "text/x" and head["Metadata"] == {"a": "b c"} and head["ETag"] == etag == '"%s"' % hashlib.md5(b"hello, world").hexdigest()
assert s3.get_object(Bucket=bucket, Key="o", Range="bytes=7-")["Body"].read() == b"world"
assert {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket=bucket, Key="o")["TagSet"]} == {"k": "v", "l": "m"}
refused("304", s3.get_object, Key="o", IfNoneMatch=etag)
refused("PreconditionFailed", s3.get_object, Key="o", IfMatch='"x"')
refused("NoSuchKey", s3.get_object, Key="none")
refused("InvalidRange", s3.get_object, Key="o", Range="bytes=12-")
if "IfNoneMatch" in s3.meta.service_model.operation_model("PutObject").input_shape.members:  # not in old ones
    refused("PreconditionFailed", s3.put_object, Key="o", Body=b"", IfNoneMatch="*")

step("copies and presigned URLs")
s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=parts)
assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == open(os.path.join(tree, "large"), "rb").read()
url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "pre signed+/?"}, ExpiresIn=60)
with urllib.request.urlopen(urllib.request.Request(url, data=b"presigned", method="PUT")) as answer:
    assert answer.status == 200
with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "pre signed+/?"})) as answer:
    assert answer.read() == b"presigned"
for version in (None, "s3"):  # as boto3 presigns of itself, and by signature version 2
    other = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version=version, s3={"addressing_style": "path"}))
    url = other.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "pre signed+/?", "ResponseContentType": "text/csv"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"presigned" and answer.headers["Content-Type"] == "text/csv", url
other.put_object(Bucket=bucket, Key="pre signed+/?", Body=b"signed", Metadata={"of": "version 2"})
assert other.get_object(Bucket=bucket, Key="pre signed+/?")["Metadata"] == {"of": "version 2"}

step("keys that no file system has")
for key in ["a//b", "./x", "../y", "slash/", "line\nend", "tab\t", "a" * 1000, "é/ü", "o/under an object"]:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]][0] == key

step("versions")
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
first = s3.put_object(Bucket=bucket, Key="v", Body=b"1")["VersionId"]
s3.put_object(Bucket=bucket, Key="v", Body=b"2")
marker = s3.delete_object(Bucket=bucket, Key="v")
assert marker["DeleteMarker"]
refused("NoSuchKey", s3.get_object, Key="v")
assert s3.get_object(Bucket=bucket, Key="v", VersionId=first)["Body"].read() == b"1"
s3.delete_object(Bucket=bucket, Key="v", VersionId=marker["VersionId"])
assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"2"

step("everything removed")
for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
    gone = [{"Key": o["Key"], "VersionId": o["VersionId"]} for o in page.get("Versions", []) + page.get("DeleteMarkers", [])]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": gone})
    assert not answer.get("Errors") and len(answer["Deleted"]) == len(gone), answer
s3.delete_bucket(Bucket=bucket)
refused("404", s3.head_bucket)
