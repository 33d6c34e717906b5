module pleo-consumer

go 1.25
