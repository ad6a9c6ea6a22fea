"""A mail server: aiosmtpd. Its arguments are what it answers to the first messages ("451 later"); it takes all that come after. Says
where it is, and then each message that came, in a line of JSON, and ends when its standard input does."""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP

answers = sys.argv[1:]


def say(line):
    print(json.dumps(line), flush=True)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        answer = answers.pop(0) if answers else "250 OK"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        headers = [[name, str(value)] for name, value in message.items()]
        body = message.get_content().replace("\r\n", "\n")
        say({"answer": answer, "from": envelope.mail_from, "to": envelope.rcpt_tos, "headers": headers, "body": body})
        return answer


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname="localhost"), "127.0.0.1", 0)
    say({"port": server.sockets[0].getsockname()[1]})
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
