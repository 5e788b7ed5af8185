krammerti status
krammerti --no-wait run --json > events.jsonl
