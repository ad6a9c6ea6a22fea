"""A store that speaks S3: moto, with a bucket and a user who may do everything in it. It checks every signature. Says where it is and
what the user's keys are, in a line of JSON, and ends when its standard input does."""

import json
import os
import sys

# For what prepares the store, which nobody has the keys for yet.
os.environ.update(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none", AWS_DEFAULT_REGION="us-east-1")

import boto3
from moto import settings
from moto.server import ThreadedMotoServer

BUCKET, USER = "pictures", "zapora"

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"

boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
iam = boto3.client("iam", endpoint_url=url)
iam.create_user(UserName=USER)
may = {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]}
policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
iam.put_user_policy(UserName=USER, PolicyName="pictures", PolicyDocument=policy)
key = iam.create_access_key(UserName=USER)["AccessKey"]
# From here on nothing goes without a key.
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

print(json.dumps({"url": url, "bucket": BUCKET, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
