// placeholder written by the channel's owner
