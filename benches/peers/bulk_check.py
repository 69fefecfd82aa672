#!/usr/bin/env python3
"""What a careful programmer writes instead: bulk statuses, details and downloads 16 at a time, connections kept alive.

    bulk_check.py BASE KEY IDS_FILE OUTPUT_DIR

Keeps no record, no digest and no fsync. With --sequential: one plain request after the other, as documented.
"""

import os
import sys


def ids_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read().split()


def sequential(base, key, ids, output):
    import json
    from urllib.request import Request, urlopen

    for video in ids:
        request = Request(f"{base}/v3/videos/{video}", headers={"X-Api-Key": key})
        with urlopen(request) as answer:
            data = json.load(answer)["data"]
        if data["status"] != "completed":
            continue
        with urlopen(data["video_url"]) as answer, open(f"{output}/{video}.mp4", "wb") as file:
            while chunk := answer.read(1 << 16):
                file.write(chunk)


async def bulk(base, key, ids, output):
    import asyncio

    import aiohttp

    hands = asyncio.Semaphore(16)
    key = {"X-Api-Key": key}
    async with aiohttp.ClientSession() as session:

        async def statuses(some):
            url = f"{base}/v3/videos/statuses?video_ids={','.join(some)}"
            async with session.get(url, headers=key) as answer:
                answer.raise_for_status()
                lines = (await answer.json())["data"]
                return [line["video_id"] for line in lines if line["status"] == "completed"]

        async def fetch(video):
            async with hands:
                async with session.get(f"{base}/v3/videos/{video}", headers=key) as answer:
                    answer.raise_for_status()
                    url = (await answer.json())["data"]["video_url"]
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    with open(f"{output}/{video}.mp4", "wb") as file:
                        async for chunk in answer.content.iter_chunked(1 << 16):
                            file.write(chunk)

        pages = [ids[at : at + 100] for at in range(0, len(ids), 100)]
        done = await asyncio.gather(*map(statuses, pages))
        await asyncio.gather(*(fetch(video) for page in done for video in page))


def main():
    words = [word for word in sys.argv[1:] if word != "--sequential"]
    base, key, ids, output = words
    os.makedirs(output, exist_ok=True)
    if "--sequential" in sys.argv:
        sequential(base, key, ids_of(ids), output)
    else:
        import asyncio

        asyncio.run(bulk(base, key, ids_of(ids), output))


main()
