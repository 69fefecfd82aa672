"""The official Python SDK as a client of `tracker mcp`: lists and calls every tool. Its one argument is the program.

The SDK checks each structured answer against the tool's output schema and raises when it does not fit.
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

BODY = {"type": "avatar", "avatar_id": "a1", "voice_id": "v1", "title": "Hello", "script": "From Python"}


async def main(program):
    server = StdioServerParameters(command=program, args=["mcp", "--allow-submit"], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        called = set()

        async def call(name, **arguments):
            called.add(name)
            result = await session.call_tool(name, arguments)
            if getattr(result, "isError", False) or getattr(result, "is_error", False):
                return json.loads(result.content[0].text)
            content = getattr(result, "structuredContent", None) or getattr(result, "structured_content", None)
            assert content is not None, (name, result)
            return content

        submitted = await call("submit_video", body=BODY, request_key="python")
        again = await call("submit_video", body=BODY, request_key="python")
        video = submitted["video"]["id"]
        assert again["video"]["id"] == video, again
        await call("check_videos")
        assert (await call("get_video", id=video, timeline=True))["video"]["status"] == "completed"
        assert (await call("list_videos"))["videos"][0]["id"] == video
        assert (await call("get_stats"))["stats"]["videos"] == 1
        await call("download_video", id=video)
        await call("retry_video", id=video, dry_run=True)
        await call("track_video", video_id="feed1234")
        assert (await call("get_video", id=999))["code"] == "not_found"
        assert (await call("reply_to_agent", id=video, text="Go on"))["code"] == "usage_error"
        assert called == {tool.name for tool in tools}, called


asyncio.run(main(sys.argv[1]))
