module pleo-e2e/consumer

go 1.26.0

require pleo-consumer v0.0.0

replace pleo-consumer => ../../../examples/consumers/go
