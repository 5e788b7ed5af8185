krammerti status
krammerti --no-wait run --json > events.jsonl
grep ^..event...warning events.jsonl || true
krammerti --quiet check data/prepared
krammerti --quiet gc --keep-runs 200 --delete
